import type { LayerEntry, Site } from "./types";

export const site: Site = JSON.parse(document.getElementById("site")!.textContent!);

const byName = new Map(site.layers.map((layer) => [layer.name, layer]));

export function layerEntry(name: string): LayerEntry | undefined {
  return byName.get(name);
}

/** Where something comes from, in one line: under every figure that leaves the page. */
export function provenance(...more: string[]): string {
  return [`${site.model} on ${site.data}`, ...more, `pure ${site.pure}`].filter(Boolean).join(" · ");
}
