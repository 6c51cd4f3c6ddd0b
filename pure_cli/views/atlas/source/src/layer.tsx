// A layer: map, filters, table, and beside them the neurons that are open.
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type Address, addressText, sameNeuron, type Query } from "./address";
import { Compare } from "./dialogs";
import { Filters } from "./filters";
import { useKeys } from "./keys";
import { Map2D } from "./map";
import { csv, describe, type LayerModel } from "./model";
import { useModel } from "./models";
import { Pane } from "./neuron";
import { change, go, withPane } from "./route";
import { saveText, fileName } from "./save";
import { Table } from "./table";
import { Button, tell } from "./ui";
import { count, oneLine } from "./words";

interface Props {
  layer: string;
  panes: Address[];
  query: Query;
  dark: boolean;
}

export function LayerView({ layer, panes, query, dark }: Props) {
  const { content: model, error } = useModel(layer);
  if (error) return <p class="problem" role="alert">{error}</p>;
  if (!model) return <p class="faint loading">Loading {oneLine(layer)} …</p>;
  return <Loaded key={layer} {...{ model, panes, query, dark }} />;
}

interface LoadedProps extends Omit<Props, "layer"> {
  model: LayerModel;
}

function Loaded({ model, panes, query, dark }: LoadedProps) {
  const left = useMemo(() => timed("filter", () => model.select(query)), [model, query.q, query.class, query.k, query.limits, query.split, query.labelled]);
  const selected = useMemo(() => timed("sort", () => model.sort(left, query.sort)), [left, query.sort]);
  const mask = useMemo(() => {
    const found = new Uint8Array(model.size);
    for (const unit of left) found[unit] = 1;
    return found;
  }, [model, left]);
  const [hovered, setHovered] = useState(-1);
  const [cursor, setCursor] = useState(-1);
  const [dialog, setDialog] = useState(false);
  const [picking, setPicking] = useState<Address | null>(null);
  const { layer } = model;
  const marked = useMemo(() => unitsOf(model, panes), [model, panes]);
  const current = cursor >= 0 ? cursor : panes[0]?.layer === layer.name ? model.unitOf(panes[0]) : -1;

  useEffect(() => tell(`${count(selected.length)} of ${count(model.size, "virtual neuron")} shown.`), [selected]);
  useEffect(() => setCursor(panes[0] && panes[0].layer === layer.name ? model.unitOf(panes[0]) : -1), [panes[0] && addressText(panes[0])]);

  const beside = useCallback((other: Address, from = panes[0]) => {
    setPicking(null);
    setDialog(false);
    if (from) go({ kind: "layer", layer: from.layer, panes: [from, other] });
  }, [panes]);
  const open = (address: Address) => (picking ? beside(address, picking) : go(withPane(address, 0)));
  const close = (side: number) => {
    const rest = panes.filter((_, at) => at !== side);
    go({ kind: "layer", layer: rest[0]?.layer ?? layer.name, panes: rest });
  };
  const step = (by: number) => {
    const at = selected.indexOf(current);
    const next = selected[Math.min(Math.max(at < 0 ? (by > 0 ? 0 : selected.length - 1) : at + by, 0), selected.length - 1)];
    if (next === undefined) return;
    setCursor(next);
    if (panes.length) go(withPane(model.address(next), 0), true);
    else tell(describe(model, next));
  };
  const order = useMemo(() => neuronsOf(model, selected), [model, selected]);
  const neighbours = (pane: Address | undefined): [Address | null, Address | null] => (pane?.layer === layer.name ? around(order, pane) : [null, null]);

  useKeys({
    "/": () => document.getElementById("search")?.focus(),
    j: () => step(1),
    k: () => step(-1),
    Enter: () => current >= 0 && !panes.length && open(model.address(current)),
    n: () => turn(neighbours(panes[0])[1] ?? (panes.length ? null : (order[0] ?? null))),
    p: () => turn(neighbours(panes[0])[0]),
    m: () => change({ images: query.images === "whole" ? "seen" : "whole" }),
    c: () => panes.length === 1 && setDialog(true),
    Escape: () => (picking ? setPicking(null) : panes.length ? close(panes.length - 1) : undefined),
  });
  const opened = useFocus(panes);

  return (
    <div class={`layer panes-${panes.length}`} ref={opened}>
      <div class="side">
        <Map2D {...{ model, query, mask, marked, hovered, dark }} shown={selected.length} onHover={setHovered} onOpen={open} />
        <div class="list">
          {picking && (
            <p class="picking" role="status">
              Choose the virtual neuron to compare with {oneLine(addressText({ ...picking, part: null }))}.
              <Button title="Do not compare" onClick={() => setPicking(null)}>Cancel</Button>
            </p>
          )}
          <Sentences sentences={layer.sentences} model={model} />
          <Filters model={model} query={query} shown={selected.length} />
          <Table {...{ model, query, selected, current, marked, hovered }} onHover={setHovered} onOpen={open} />
          <div class="bar foot">
            <span class="faint">{oneLine(layer.features)} · k {oneLine(layer.k)}</span>
            <span class="space" />
            <Button glyph="down" title="Save the table as it is filtered and sorted" onClick={() => saveText(csv(model, selected), `${fileName(layer.name)}.csv`, "text/csv")}>Table as CSV</Button>
          </div>
        </div>
      </div>
      {panes.length > 0 && !picking && (
        <div class="panes">
          {panes.map((pane, side) => (
            <Pane key={side} address={pane} side={side} sides={panes.length} query={query} dark={dark} neighbours={neighbours(pane)} onClose={() => close(side)} onCompare={() => setDialog(true)} />
          ))}
        </div>
      )}
      {dialog && panes[0] && (
        <Compare from={panes[0]} model={model} onChoose={beside} onClose={() => setDialog(false)} onPick={() => {
          setPicking(panes[0]!);
          setDialog(false);
        }} />
      )}
    </div>
  );
}

function turn(to: Address | null): void {
  if (to) go(withPane({ ...to, part: null }, 0));
}

/** How long something took, for the browser's own tools. */
function timed<T>(name: string, work: () => T): T {
  const start = performance.now();
  const result = work();
  performance.measure(`pure-atlas ${name}`, { start });
  return result;
}

/** A pane that opens takes the focus where the page shows nothing else; one that closes gives it back. */
function useFocus(panes: Address[]) {
  const box = useRef<HTMLDivElement>(null);
  const before = useRef(panes.length);
  useEffect(() => {
    const grown = panes.length > before.current;
    const shrunk = panes.length < before.current;
    before.current = panes.length;
    if (grown) box.current?.querySelector<HTMLElement>(`#pane-${panes.length - 1}`)?.focus({ preventScroll: true });
    if (shrunk) box.current?.querySelector<HTMLElement>(panes.length ? "#pane-0" : "#table")?.focus({ preventScroll: true });
  }, [panes.length]);
  return box;
}

function unitsOf(model: LayerModel, panes: Address[]): number[] {
  return panes.flatMap((pane) => {
    const unit = pane.layer === model.layer.name ? model.unitOf(pane) : -1;
    return unit < 0 ? [] : pane.part === null ? model.siblings(unit) : [unit];
  });
}

function neuronsOf(model: LayerModel, selected: Int32Array): Address[] {
  const seen = new Set<number>();
  const found: Address[] = [];
  for (const unit of selected) {
    const address = model.address(unit);
    if (!seen.has(address.neuron)) found.push({ ...address, part: null });
    seen.add(address.neuron);
  }
  return found;
}

/** The neurons before and after one, as the table has them; where it does not show it, the table's first is next. */
function around(order: Address[], pane: Address): [Address | null, Address | null] {
  const at = order.findIndex((one) => sameNeuron(one, pane));
  return [order[at - 1] ?? null, order[at + 1] ?? null];
}

function Sentences({ sentences, model }: { sentences: string[]; model: LayerModel }) {
  const all = [...sentences];
  if (!model.labelled && !sentences.some((sentence) => sentence.includes("pure label"))) all.push("No virtual neuron of this layer has a label yet; pure label finds some, then build the atlas again.");
  if (!all.length) return null;
  return (
    <details class="sentences">
      <summary>{oneLine(all[0]!)}{all.length > 1 && <span class="faint"> (and {all.length - 1} more)</span>}</summary>
      {all.slice(1).map((sentence) => <p key={sentence}>{oneLine(sentence)}</p>)}
    </details>
  );
}
