// Every view is a hash: #layer, #layer/neuron, #layer/neuron.part, #a+b, #audit, #audit/class; after ? how it is viewed.

export interface Address {
  layer: string;
  neuron: number;
  part: number | null; // counted from 0; addresses count from 1
}

export type Route =
  | { kind: "layer"; layer: string; panes: Address[] }
  | { kind: "audit"; class: string | null }
  | { kind: "unknown"; text: string };

export type Images = "seen" | "whole";
export type Relation = "<" | "<=" | ">" | ">=";

export interface Limit {
  key: string;
  relation: Relation;
  value: number;
}

export interface Query {
  q: string;
  sort: string; // a column; "-" in front: descending; "" as they are numbered
  class: string;
  k: string;
  limits: Limit[];
  split: boolean;
  labelled: boolean;
  map: string;
  color: string;
  images: Images;
}

export const DEFAULTS: Query = {
  q: "",
  sort: "",
  class: "",
  k: "",
  limits: [],
  split: false,
  labelled: false,
  map: "",
  color: "",
  images: "seen",
};

const AUDIT = "audit";

function encode(text: string): string {
  const escaped = text.replace(/[^A-Za-z0-9._:@#~-]/gu, (letter) => {
    try {
      return encodeURIComponent(letter);
    } catch {
      return "%EF%BF%BD"; // half of a pair, of a name that is no UTF-8
    }
  });
  return escaped;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function encodeLayer(name: string): string {
  return name === AUDIT ? "%61udit" : encode(name); // a layer of that name is no audit
}

export function addressText({ layer, neuron, part }: Address): string {
  return `${layer}/${neuron}${part === null ? "" : `.${part + 1}`}`;
}

export function sameNeuron(a: Address, b: Address): boolean {
  return a.layer === b.layer && a.neuron === b.neuron;
}

/** An address as people write it, in plain text; "201.2" belongs to `layer`. */
export function parseAddress(text: string, layer: string | null = null): Address | null {
  const found = /^(?:([^]*)\/)?(\d+)(?:\.([1-9]\d*))?$/.exec(text.trim());
  const name = found?.[1] ?? layer;
  if (!found || name === null) return null;
  return { layer: name, neuron: Number(found[2]), part: found[3] ? Number(found[3]) - 1 : null };
}

function parsePane(text: string): Address | null {
  const slash = text.lastIndexOf("/");
  if (slash < 0) return null;
  return parseAddress(text.slice(slash + 1), decode(text.slice(0, slash)));
}

export function parseView(text: string): Route {
  const [head = "", ...rest] = text.split("/");
  if (head === AUDIT) return { kind: "audit", class: rest.length && rest[0] !== "" ? decode(rest.join("/")) : null };
  if (!rest.length && !text.includes("+")) return { kind: "layer", layer: decode(text), panes: [] };
  const panes = text.split("+").map(parsePane);
  const [first] = panes;
  if (panes.length === 2 && first && panes[1] && sameNeuron(first, panes[1])) return { kind: "layer", layer: first.layer, panes: [panes[1]] };
  if (!first || panes.includes(null) || panes.length > 2) return { kind: "unknown", text: decode(text) };
  return { kind: "layer", layer: first.layer, panes: panes as Address[] };
}

export function formatView(route: Route): string {
  if (route.kind === "unknown") return encode(route.text);
  if (route.kind === "audit") return route.class === null ? AUDIT : `${AUDIT}/${encode(route.class)}`;
  if (!route.panes.length) return encodeLayer(route.layer);
  return route.panes.map((pane) => addressText({ ...pane, layer: encodeLayer(pane.layer) })).join("+");
}

function parseLimits(text: string): Limit[] {
  return text.split(",").flatMap((item) => {
    const found = /^([^]+?)(<=|>=|<|>)([^<>=]+)$/.exec(item);
    const value = Number(found?.[3]);
    return found && Number.isFinite(value) ? [{ key: decode(found[1]!), relation: found[2] as Relation, value }] : [];
  });
}

export function parseQuery(text: string): Query {
  const given = new Map(
    text
      .split("&")
      .filter(Boolean)
      .map((item) => {
        const at = item.indexOf("=");
        return at < 0 ? [item, ""] : [item.slice(0, at), decode(item.slice(at + 1).replaceAll("+", "%20"))];
      }) as [string, string][],
  );
  const only = (given.get("only") ?? "").split(",");
  return {
    q: given.get("q") ?? "",
    sort: given.get("sort") ?? "",
    class: given.get("class") ?? "",
    k: given.get("k") ?? "",
    limits: parseLimits(given.get("f") ?? ""),
    split: only.includes("split"),
    labelled: only.includes("labelled"),
    map: given.get("map") ?? "",
    color: given.get("color") ?? "",
    images: given.get("images") === "whole" ? "whole" : "seen",
  };
}

export function formatQuery(query: Query): string {
  const only = [query.split && "split", query.labelled && "labelled"].filter(Boolean).join(",");
  const limits = query.limits.map(({ key, relation, value }) => `${encode(key)}${relation}${value}`).join(",");
  const parts: [string, string][] = [
    ["q", query.q],
    ["sort", query.sort],
    ["class", query.class],
    ["k", query.k],
    ["f", limits],
    ["only", only],
    ["map", query.map],
    ["color", query.color],
    ["images", query.images === "whole" ? "whole" : ""],
  ];
  return parts
    .filter(([, value]) => value !== "")
    .map(([key, value]) => `${key}=${encode(value)}`)
    .join("&");
}

export function parseHash(hash: string): { route: Route; query: Query } {
  const body = hash.replace(/^#/, "");
  const at = body.indexOf("?");
  return at < 0
    ? { route: parseView(body), query: DEFAULTS }
    : { route: parseView(body.slice(0, at)), query: parseQuery(body.slice(at + 1)) };
}

export function formatHash(route: Route, query: Query): string {
  const settings = formatQuery(query);
  return `#${formatView(route)}${settings && `?${settings}`}`;
}

/** Strings that come near a text: fewest letters to change, in share of the longer one. */
export function nearest(text: string, known: string[], count = 5): string[] {
  const wanted = text.toLowerCase();
  return known
    .map((name) => ({ name, far: distance(wanted, name.toLowerCase()) / Math.max(wanted.length, name.length, 1) }))
    .sort((a, b) => a.far - b.far)
    .slice(0, count)
    .map(({ name }) => name);
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length]!;
}
