// Layers made ready once each.
import { useMemo } from "preact/hooks";
import { files, useChunk } from "./load";
import { LayerModel } from "./model";
import { layerEntry } from "./site";
import type { Layer } from "./types";

const made = new WeakMap<Layer, LayerModel>();

export function modelOf(layer: Layer): LayerModel {
  let model = made.get(layer);
  if (!model) made.set(layer, (model = new LayerModel(layer)));
  return model;
}

export function useModel(name: string | null): { content: LayerModel | null; error: string | null } {
  const entry = name === null ? undefined : layerEntry(name);
  const [key, file] = entry ? files.layer(entry.name, entry.slug) : [null, ""];
  const { content, error } = useChunk<Layer>(key, file);
  return useMemo(() => ({ content: content && modelOf(content), error }), [content, error]);
}
