import { useRef, useState } from "preact/hooks";
import { DEFAULTS, type Limit, type Query, type Relation } from "./address";
import { Button } from "./ui";
import type { Column, LayerModel } from "./model";
import { change } from "./route";
import { site } from "./site";
import { count, number, oneLine } from "./words";

const LOW: Relation[] = [">", ">="];
const HIGH: Relation[] = ["<", "<="];

function filtered(query: Query): boolean {
  const { q, class: top, k, limits, split, labelled } = query;
  return Boolean(q || top || k || limits.length || split || labelled);
}

export function unfilter(): void {
  const { q, class: top, k, limits, split, labelled } = DEFAULTS;
  change({ q, class: top, k, limits, split, labelled });
}

export function Filters({ model, query, shown }: { model: LayerModel; query: Query; shown: number }) {
  const [open, setOpen] = useState(query.limits.length > 0);
  const columns = model.columns.filter(({ key, values }) => values && !["address", "k"].includes(key));
  return (
    <search class="filters">
      <div class="bar">
        <input
          id="search"
          type="search"
          placeholder="Search label, class, address, drives CLASS"
          aria-label="Search label, class, address"
          aria-keyshortcuts="/"
          value={query.q}
          onInput={(event) => change({ q: event.currentTarget.value })}
        />
        {model.classes.length > 0 && (
          <select aria-label="Top class" value={query.class} onChange={(event) => change({ class: event.currentTarget.value })}>
            <option value="">any class</option>
            {model.classes.map(([index, units]) => {
              const name = site.classes[index] ?? `class ${index}`;
              return <option key={index} value={name}>{oneLine(name)} ({count(units)})</option>;
            })}
          </select>
        )}
        <select aria-label="Virtual neurons of the neuron, k" value={query.k} onChange={(event) => change({ k: event.currentTarget.value })}>
          <option value="">any k</option>
          {model.ks.map((k) => <option key={k} value={String(k)}>k = {k}</option>)}
        </select>
        <label class="check">
          <input type="checkbox" checked={query.split} onChange={(event) => change({ split: event.currentTarget.checked })} /> only split
        </label>
        {model.labelled > 0 && (
          <label class="check">
            <input type="checkbox" checked={query.labelled} onChange={(event) => change({ labelled: event.currentTarget.checked })} /> only labelled
          </label>
        )}
        <Button glyph="filter" title="Limits of numbers" pressed={open} onClick={() => setOpen(!open)}>
          {query.limits.length ? `Limits (${query.limits.length})` : "Limits"}
        </Button>
        <span class="space" />
        {filtered(query) && <Button title="Show all again" onClick={unfilter} class="quiet">Reset</Button>}
        <output class="count" for="search"><b>{count(shown)}</b> of {count(model.size)} shown</output>
      </div>
      {open && (
        <div class="limits" role="group" aria-label="Limits of numbers">
          {columns.map((column) => <Range key={column.key} column={column} query={query} />)}
        </div>
      )}
    </search>
  );
}

const BINS = 24;

function bins(values: Float64Array): { shares: number[]; low: number; high: number } {
  const known = values.filter((value) => !Number.isNaN(value));
  const [low, high] = [known.reduce((a, b) => Math.min(a, b), Infinity), known.reduce((a, b) => Math.max(a, b), -Infinity)];
  const counts = new Array<number>(BINS).fill(0);
  for (const value of known) counts[Math.min(Math.floor(((value - low) / (high - low || 1)) * BINS), BINS - 1)]!++;
  const most = Math.max(...counts, 1);
  return { shares: counts.map((units) => units / most), low, high };
}

function Range({ column, query }: { column: Column; query: Query }) {
  const known = useRef<ReturnType<typeof bins> | null>(null);
  known.current ??= bins(column.values!);
  const { shares, low, high } = known.current;
  const title = column.title.replaceAll("\u00ad", "");
  const limit = (relations: Relation[]) => query.limits.find(({ key, relation }) => key === column.key && relations.includes(relation));
  const set = (relations: Relation[], text: string) => {
    const rest = query.limits.filter((one) => one !== limit(relations));
    const value = Number(text);
    const added: Limit[] = text.trim() && Number.isFinite(value) ? [{ key: column.key, relation: relations[1]!, value }] : [];
    change({ limits: [...rest, ...added] });
  };
  const inside = (bin: number) => {
    const middle = low + ((bin + 0.5) / BINS) * (high - low);
    return middle >= (limit(LOW)?.value ?? -Infinity) && middle <= (limit(HIGH)?.value ?? Infinity);
  };
  const field = (relations: Relation[], name: string, bound: number) => (
    <input
      type="number"
      step="any"
      aria-label={`${title}, ${name}`}
      placeholder={number(bound)}
      value={limit(relations)?.value ?? ""}
      onInput={(event) => set(relations, event.currentTarget.value)}
    />
  );
  return (
    <div class="range" title={column.help}>
      <span class="name">{title}</span>
      <svg viewBox={`0 0 ${BINS * 4} 20`} preserveAspectRatio="none" aria-hidden="true">
        {shares.map((share, bin) => (
          <rect key={bin} x={bin * 4} y={20 - share * 20} width="3" height={share * 20} class={inside(bin) ? "in" : "out"} />
        ))}
      </svg>
      {field(LOW, "least", low)}
      <span class="faint" aria-hidden="true">to</span>
      {field(HIGH, "most", high)}
    </div>
  );
}
