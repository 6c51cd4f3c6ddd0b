// A layer, made ready to be filtered, sorted and drawn at once.
import { addressText, type Address, type Query } from "./address";
import { site } from "./site";
import type { Layer, Numbers } from "./types";
import { count, digits, oneLine } from "./words";

export interface Column {
  key: string;
  title: string;
  help: string;
  width: number; // px
  values: Float64Array | null; // NaN: unknown; null: a column of text
  text: (unit: number) => string;
  descends: boolean; // at the first click
}

export const NO_LABEL = "no label";

export class LayerModel {
  readonly size: number;
  readonly rows: Int32Array; // of each unit, its neuron's row
  readonly columns: Column[];
  readonly classes: [index: number, units: number][]; // by how many units have it on top
  readonly ks: number[];
  readonly labelled: number;
  private readonly first = new Map<number, number>(); // of a neuron, its first unit
  private readonly row = new Map<number, number>();
  private readonly haystack: string[];

  constructor(readonly layer: Layer) {
    const { units, neurons } = layer;
    this.size = units.neuron.length;
    neurons.neuron.forEach((neuron, row) => this.row.set(neuron, row));
    this.rows = Int32Array.from(units.neuron, (neuron) => this.row.get(neuron) ?? 0);
    for (let unit = this.size - 1; unit >= 0; unit--) this.first.set(units.neuron[unit]!, unit);
    this.haystack = units.neuron.map((_, unit) => this.words(unit));
    this.labelled = units.label.filter((label) => label && label !== NO_LABEL).length;
    this.classes = tally(units.class);
    this.ks = [...new Set(neurons.k)].sort((a, b) => a - b);
    this.columns = columnsOf(this);
  }

  private words(unit: number): string {
    const { units, neurons } = this.layer;
    const row = this.rows[unit]!;
    const driven = this.layer.drives?.[unit]?.[0];
    return [units.label[unit], this.className(unit), this.addressText(unit), neurons.name[row], neurons.label[row], driven && `drives ${driven}`]
      .join("\n")
      .toLowerCase();
  }

  address(unit: number): Address {
    const { units } = this.layer;
    return { layer: this.layer.name, neuron: units.neuron[unit]!, part: units.part[unit]! };
  }

  addressText(unit: number): string {
    return addressText(this.address(unit));
  }

  /** The unit of an address; of a neuron its first one; -1 where there is none. */
  unitOf({ neuron, part }: Address): number {
    const first = this.first.get(neuron);
    if (first === undefined) return -1;
    if (part === null) return first;
    const { units } = this.layer;
    for (let unit = first; units.neuron[unit] === neuron; unit++) if (units.part[unit] === part) return unit;
    return -1;
  }

  /** All units of a unit's neuron. */
  siblings(unit: number): number[] {
    const { neuron } = this.layer.units;
    const first = this.first.get(neuron[unit]!)!;
    const found: number[] = [];
    for (let one = first; neuron[one] === neuron[unit]; one++) found.push(one);
    return found;
  }

  /** One neuron in a notebook: there is no list of others beside it. */
  get alone(): boolean {
    return !!site.inline && this.layer.neurons.neuron.length === 1;
  }

  hasNeuron(neuron: number): boolean {
    return this.row.has(neuron);
  }

  className(unit: number): string {
    const index = this.layer.units.class[unit]!;
    return index < 0 ? "" : (site.classes[index] ?? `class ${index}`);
  }

  column(key: string): Column | undefined {
    return this.columns.find((column) => column.key === key);
  }

  matches(query: Query, unit: number, words: string[], limits: [Float64Array, string, number][], k: number): boolean {
    const { units, neurons } = this.layer;
    if (query.class && this.className(unit) !== query.class) return false;
    const row = this.rows[unit]!;
    if (query.k && neurons.k[row] !== k) return false;
    if (query.split && neurons.k[row]! < 2) return false;
    if (query.labelled && (!units.label[unit] || units.label[unit] === NO_LABEL)) return false;
    for (const [values, relation, limit] of limits) {
      const value = values[unit]!;
      if (relation === "<" ? !(value < limit) : relation === "<=" ? !(value <= limit) : relation === ">" ? !(value > limit) : !(value >= limit))
        return false;
    }
    for (const word of words) if (!this.haystack[unit]!.includes(word)) return false;
    return true;
  }

  /** The units that a view's filters leave, as they are numbered. */
  select(query: Query): Int32Array {
    const words = query.q.toLowerCase().split(/\s+/).filter(Boolean);
    const limits = query.limits.flatMap(({ key, relation, value }): [Float64Array, string, number][] => {
      const values = this.column(key)?.values;
      return values ? [[values, relation, value]] : [];
    });
    const found: number[] = [];
    for (let unit = 0; unit < this.size; unit++)
      if (this.matches(query, unit, words, limits, Number(query.k))) found.push(unit);
    return Int32Array.from(found);
  }

  /** Units in the order of a column; those that lack it come last. */
  sort(units: Int32Array, sort: string): Int32Array {
    const down = sort.startsWith("-");
    const column = this.column(down ? sort.slice(1) : sort);
    if (!column) return units;
    units = units.slice();
    const sign = down ? -1 : 1;
    const { values } = column;
    if (values)
      return units.sort((a, b) => {
        const [x, y] = [values[a]!, values[b]!];
        if (Number.isNaN(x) || Number.isNaN(y)) return Number(Number.isNaN(x)) - Number(Number.isNaN(y)) || a - b;
        return sign * (x - y) || a - b;
      });
    const ranks = this.ranks(column);
    return units.sort((a, b) => Number(ranks[a]! < 0) - Number(ranks[b]! < 0) || -Number(ranks[a]! < 0) || sign * (ranks[a]! - ranks[b]!) || a - b);
  }

  private readonly ranked = new Map<string, Int32Array>();

  /** The place of each unit's text among all texts of a column; -1 where it is empty. */
  private ranks(column: Column): Int32Array {
    let ranks = this.ranked.get(column.key);
    if (!ranks) {
      const texts = Array.from({ length: this.size }, (_, unit) => column.text(unit));
      const order = [...new Set(texts)].sort(new Intl.Collator("en", { numeric: true }).compare);
      const place = new Map(order.map((text, at) => [text, at]));
      ranks = Int32Array.from(texts, (text) => (text === "" ? -1 : place.get(text)!));
      this.ranked.set(column.key, ranks);
    }
    return ranks;
  }
}

function tally(classes: number[]): [number, number][] {
  const counts = new Map<number, number>();
  for (const index of classes) if (index >= 0) counts.set(index, (counts.get(index) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
}

function known(values: Numbers): boolean {
  return values.some((value) => value !== null);
}

function columnsOf(model: LayerModel): Column[] {
  const { layer, rows } = model;
  const { units, neurons } = layer;
  const ofUnits = (values: Numbers) => Float64Array.from(values, (value) => value ?? NaN);
  const ofNeurons = (values: Numbers) => Float64Array.from(rows, (row) => values[row] ?? NaN);
  const numeric = (key: string, title: string, help: string, width: number, values: Float64Array, descends = true): Column => {
    const written = digits(values);
    return { ...{ key, title, help, width, values, descends }, text: (unit) => written(values[unit]!) };
  };
  const text = (key: string, title: string, help: string, width: number, of: (unit: number) => string): Column => ({
    ...{ key, title, help, width, values: null, descends: false, text: of },
  });
  const order = Float64Array.from(units.neuron, (_, unit) => unit);
  const columns: (Column | false)[] = [
    { ...numeric("address", "address", "layer/neuron.virtual neuron", 76, order, false), text: (unit) => model.addressText(unit) },
    (units.label.some(Boolean) || neurons.name.some(Boolean)) &&
      text("label", "label", "The words that fit its images best; ? where they were not judged", 136, (unit) => units.label[unit]!),
    known(units.auprc) &&
      numeric("auprc", "AUPRC", "How well it ranks images of its label (1 is best), and the same by chance", 74, ofUnits(units.auprc)),
    known(units.auprc) && numeric("lead", "over chance", "AUPRC less that by chance: at 0, the label says nothing", 62, Float64Array.from(units.auprc, (value, unit) => (value === null ? NaN : value - (units.chance[unit] ?? 0)))),
    model.classes.length > 0 &&
      text("class", "top class", "The class of most of its reference images, and how many", 122, (unit) => model.className(unit)),
    known(units.lift) && numeric("lift", "lift", "How many times more often than in the data its top class is among its images", 52, ofUnits(units.lift)),
    numeric("size", "size", "Reference images", 50, ofUnits(units.size)),
    numeric("k", "k", "Virtual neurons of its neuron", 38, ofNeurons(neurons.k)),
    known(neurons.polysemanticity) &&
      numeric("polysemanticity", "poly\u00adseman\u00adticity", "Of its neuron: how far apart its virtual neurons lie", 70, ofNeurons(neurons.polysemanticity)),
    known(neurons.p) && numeric("p", "p", "Of its neuron: how often data without clusters look split as clearly", 62, ofNeurons(neurons.p), false),
    known(neurons.silhouette) && numeric("silhouette", "silhou\u00adette", "Of its neuron: how clearly its virtual neurons are apart (−1 to 1)", 62, ofNeurons(neurons.silhouette)),
    ...layer.extra.map(({ key, title, help, of, values }) =>
      numeric(key, title, help, Math.min(Math.max(title.length * 7 + 16, 64), 110), of === "unit" ? ofUnits(values) : ofNeurons(values)),
    ),
    layer.drives !== null && {
      ...numeric("drives", "drives", "The class whose output its neuron raises most on its images, and by how much; search “drives CLASS” for one", 116, Float64Array.from(layer.drives, (one) => one?.[1] ?? NaN)),
      text: (unit: number) => layer.drives![unit]?.[0] ?? "",
    },
  ];
  return columns.filter((column): column is Column => column !== false);
}

// What a spreadsheet takes for a formula
const FORMULA = /^[=+\-@\t\r]/;

function cell(value: string, isText: boolean): string {
  const safe = isText && FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** The table as it is filtered and sorted, after RFC 4180. */
export function csv(model: LayerModel, selected: Int32Array): string {
  const { layer } = model;
  const plain = (value: number | null | undefined) => (value === null || value === undefined || Number.isNaN(value) ? "" : String(value));
  const extras: [string, boolean, (unit: number) => string][] = [
    ["name", true, (unit) => layer.neurons.name[model.rows[unit]!]!],
    ["judged", false, (unit) => String(layer.units.judged[unit])],
    ["chance", false, (unit) => plain(layer.units.chance[unit])],
    ["class count", false, (unit) => plain(layer.units.classCount[unit])],
    ["drives by", false, (unit) => plain(layer.drives?.[unit]?.[1])],
  ];
  const columns: [string, boolean, (unit: number) => string][] = [
    ...model.columns.map(({ key, values, text }): [string, boolean, (unit: number) => string] =>
      key === "address" || key === "drives" || !values ? [key, true, text] : [key, false, (unit) => plain(values[unit])],
    ),
    ...extras.filter(([key]) => key !== "drives by" || layer.drives),
  ];
  const lines = [columns.map(([key]) => cell(key, true)).join(",")];
  for (const unit of selected) lines.push(columns.map(([, isText, of]) => cell(of(unit), isText)).join(","));
  return `${lines.join("\r\n")}\r\n`;
}

export function describe(model: LayerModel, unit: number): string {
  const { units } = model.layer;
  const label = units.label[unit] ? oneLine(units.label[unit]!) : "";
  const top = model.className(unit);
  return [model.addressText(unit), label, top && `${oneLine(top)} ${count(units.classCount[unit]!)} of ${units.size[unit]}`]
    .filter(Boolean)
    .join(" · ");
}
