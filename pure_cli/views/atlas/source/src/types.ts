// What the files of an atlas hold. Python writes them; unknown numbers are null.

export type Numbers = (number | null)[];

export interface LayerEntry {
  name: string;
  slug: string;
  neurons: number;
  virtual: number;
  labelled: number;
  collected: number;
}

export interface Site {
  format: number;
  model: string;
  data: string;
  images: number;
  classes: string[];
  pure: string;
  layers: LayerEntry[];
  audits: { class: string; slug: string }[];
  about: [string, string][];
  notes: string[];
  bibtex: string;
  start: string;
  inline?: boolean; // all that there is stands in the page, for a notebook
}

export interface Extra {
  key: string;
  title: string;
  help: string;
  of: "unit" | "neuron";
  values: Numbers;
}

export interface MapOfUnits {
  key: string;
  title: string;
  x: Numbers;
  y: Numbers;
}

export interface Layer {
  name: string;
  features: string;
  k: string;
  lower: string;
  n: number;
  crop: string;
  sentences: string[];
  settings: unknown;
  fingerprint: string;
  neurons: {
    neuron: number[];
    name: string[];
    label: string[];
    k: number[];
    silhouette: Numbers;
    polysemanticity: Numbers;
    p: Numbers;
    tied: number[];
    references: number[];
  };
  units: {
    neuron: number[];
    part: number[];
    size: number[];
    label: string[];
    judged: boolean[];
    auprc: Numbers;
    chance: Numbers;
    class: number[];
    classCount: number[];
    lift: Numbers;
  };
  extra: Extra[];
  drives: ([string, number] | null)[] | null; // the output that each raises most
  maps: MapOfUnits[];
  icons: { size: number; columns: number; perSheet: number } | null;
  nearestBy: string;
}

export interface Picture {
  src: string;
  tile: number;
  columns: number;
  sizes: [number, number][];
}

export interface Concept {
  name: string;
  score: number;
  auprc: number | null;
  chance: number | null;
}

export interface Circuit {
  layers: string[];
  nodes: { layer: string; channel: number; share: number; shared: boolean }[];
  edges: [number, number, number, number][];
  kept: number; // channels of the whole graph, of which the most relevant are `nodes`
  explained: [number | null, number | null, number | null] | null;
}

export interface Part {
  part: number;
  size: number;
  label: string;
  judged: boolean;
  concepts: Concept[];
  classes: [string, number, number | null][];
  channels: { layer: string; channel: number; share: number }[] | null;
  nearest: { address: string; score: number; label: string }[];
  drives: [string, number][] | null;
  holds: [string, number][] | null;
  facts: [string, string][];
  outliers: number[];
  circuit: Circuit | null;
}

export interface Histogram {
  data: string;
  edges: Numbers;
  count: number[];
  drawn: number[]; // images of each range that shares are of
  shares: (number[] | null)[];
}

export type Box = [number, number, number, number]; // top, bottom, left, right

export interface Neuron {
  neuron: number;
  name: string;
  label: string;
  verdict: string;
  facts: [string, string][];
  sentences: string[];
  references: {
    index: number[];
    path: string[];
    class: number[];
    score: number[];
    part: number[];
    box: (Box | null)[];
  };
  sheets: { seen: Picture | null; whole: Picture | null };
  shown: number[];
  aspect: unknown;
  parts: Part[];
  histogram: Histogram | null;
  commands: string[];
}

export interface Driver {
  address: string;
  effect: number;
  error: number | null;
  share: number | null;
  own: number | null;
  label: string;
  classes: [string, number, number | null][];
  silenced: { own: [number, number]; others: [number, number] } | null;
}

export interface Audit {
  class: string;
  number: number;
  sentences: string[];
  accuracy: number | null;
  images: number;
  drivers: Driver[];
  elsewhere: { address: string; effect: number; own: number | null; label?: string; classes: [string, number, number | null][] }[];
  outliers: { address: string; slot: number; path: string; class: string; why: string }[];
  control: { random: number | null; text: string } | null;
  together?: Together[];
}

export interface Together {
  count: number; // the first drivers, silenced at once
  own: number | null; // accuracy on the class
  others: number | null;
  random: [number | null, number | null]; // without as many drawn at random
}
