// Files of the atlas come as scripts, since fetch does not work from file://. Those in use stay, of others the last few.
import { useEffect, useState } from "preact/hooks";

declare global {
  interface Window {
    pureAtlas: (key: string, content: unknown) => void;
  }
}

const KEPT: Record<string, number> = { layer: 4, icons: 16, neuron: 12, audit: 8 };

interface Entry {
  content: Promise<unknown>;
  urls: Map<string, string>;
  used: number;
}

const waiting = new Map<string, (content: unknown) => void>();
const entries = new Map<string, Entry>(); // least recently used first

window.pureAtlas = (key, content) => {
  waiting.get(key)?.(content);
  waiting.delete(key);
};

const inlined = new Map(
  Array.from(document.querySelectorAll<HTMLScriptElement>("script.chunk"), (tag) => [tag.dataset.key ?? "", tag]),
);

function read(key: string, file: string): Promise<unknown> {
  const tag = inlined.get(key);
  if (tag) return Promise.resolve(JSON.parse(tag.textContent ?? "null"));
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const fail = () => {
      waiting.delete(key);
      reject(new Error(`The file ${file} is missing or damaged. Build the atlas again with pure atlas.`));
    };
    waiting.set(key, resolve);
    script.onerror = () => {
      script.remove();
      fail();
    };
    script.onload = () => {
      script.remove();
      if (waiting.has(key)) fail();
    };
    script.src = file.split("/").map(encodeURIComponent).join("/");
    document.head.append(script);
  });
}

function touch(key: string, file: string): Entry {
  let entry = entries.get(key);
  if (entry) entries.delete(key);
  else {
    entry = { content: read(key, file), urls: new Map(), used: 0 };
    entry.content.catch(() => entries.delete(key)); // tried again when it is asked for again
  }
  entries.set(key, entry);
  return entry;
}

function trim(): void {
  const seen: Record<string, number> = {};
  for (const [key, entry] of [...entries].reverse()) {
    const kind = key.slice(0, key.indexOf(":"));
    seen[kind] = (seen[kind] ?? 0) + 1;
    if (entry.used > 0 || seen[kind]! <= (KEPT[kind] ?? 1)) continue;
    entry.urls.forEach((url) => URL.revokeObjectURL(url));
    entries.delete(key);
  }
}

export function held(): string[] {
  return [...entries.keys()];
}

/** What a file holds, and the address under which the browser finds an image of it without its text being copied. */
export interface Chunk<T> {
  key: string;
  content: T | null;
  error: string | null;
}

export function load<T>(key: string, file: string): Promise<T> {
  const content = touch(key, file).content as Promise<T>;
  trim();
  return content;
}

export function useChunk<T>(key: string | null, file: string): Chunk<T> {
  const [state, setState] = useState<Chunk<T>>({ key: "", content: null, error: null });
  useEffect(() => {
    if (key === null) return;
    let wanted = true;
    const entry = touch(key, file);
    entry.used++;
    entry.content.then(
      (content) => wanted && setState({ key, content: content as T, error: null }),
      (error: Error) => wanted && setState({ key, content: null, error: error.message }),
    );
    return () => {
      wanted = false;
      entry.used--;
      trim();
    };
  }, [key, file]);
  return state.key === key ? state : { key: key ?? "", content: null, error: null };
}

/** A data URL as one of the browser's own; it lives as long as the chunk that it came with. */
export function imageUrl(key: string, source: string): string {
  const urls = entries.get(key)?.urls;
  const known = urls?.get(source);
  if (known) return known;
  const found = /^data:([\w/+.-]+);base64,/.exec(source);
  if (!urls || !found) return source;
  const bytes = Uint8Array.from(atob(source.slice(found[0].length)), (letter) => letter.charCodeAt(0));
  const url = URL.createObjectURL(new Blob([bytes], { type: found[1] }));
  urls.set(source, url);
  return url;
}

const number = (neuron: number) => String(neuron).padStart(6, "0");

export const files = {
  layer: (layer: string, slug: string) => [`layer:${layer}`, `data/${slug}/layer.js`] as const,
  icons: (layer: string, slug: string, sheet: number) =>
    [`icons:${layer}:${sheet}`, `data/${slug}/icons-${sheet}.js`] as const,
  neuron: (layer: string, slug: string, neuron: number) =>
    [`neuron:${layer}/${neuron}`, `data/${slug}/n/${number(neuron)}.js`] as const,
  audit: (name: string, slug: string) => [`audit:${name}`, `data/audit/${slug}.js`] as const,
};
