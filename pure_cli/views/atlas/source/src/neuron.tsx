// The pane of a neuron: what it responds to, a section for each of its virtual neurons.
import { useEffect, useRef, useState } from "preact/hooks";
import { type Address, addressText, nearest, type Query } from "./address";
import { exportNeuron } from "./figure";
import { basis, HistogramChart } from "./histogram";
import { ON_SCREEN } from "./circuit";
import { files, load, useChunk } from "./load";
import type { LayerModel } from "./model";
import { useModel } from "./models";
import { Section } from "./part";
import { change, hrefOf, link, withPane } from "./route";
import { layerEntry, provenance, site } from "./site";
import type { Neuron } from "./types";
import { Button, Copy, Marker, Menu, tell, Told } from "./ui";
import { oneLine } from "./words";

export interface PaneProps {
  address: Address;
  side: number;
  sides: number;
  query: Query;
  dark: boolean;
  neighbours: [Address | null, Address | null]; // as the table has them
  onClose: () => void;
  onCompare: () => void;
}

export function Pane(props: PaneProps) {
  const { address, side, query, dark } = props;
  const entry = layerEntry(address.layer);
  const model = useModel(address.layer).content;
  const [key, file] = entry ? files.neuron(address.layer, entry.slug, address.neuron) : [null, ""];
  const missing = model !== null && !model.hasNeuron(address.neuron);
  const { content, error } = useChunk<Neuron>(model && !missing ? key : null, file); // no file is looked for in vain
  const box = useRef<HTMLElement>(null);
  useAhead(props.neighbours);
  useEffect(() => {
    const node = box.current;
    if (!content || !node) return;
    const section = address.part === null ? null : node.querySelector<HTMLElement>(`[data-part="${address.part}"]`);
    const head = node.querySelector<HTMLElement>(".strip");
    const first = address.part === null || content.parts[0]?.part === address.part;
    node.scrollTop = first || !section ? 0 : section.offsetTop - (head?.offsetHeight ?? 0) - 4;
    tell(`Neuron ${addressText({ ...address, part: null })} opened.`);
  }, [content, address.layer, address.neuron, address.part]);
  return (
    <article class="pane" ref={box} tabIndex={-1} id={`pane-${side}`} aria-label={`Neuron ${addressText({ ...address, part: null })}`}>
      <Tools {...props} neuron={content} model={model} />
      {!entry && <Unknown address={address} side={side} model={null} />}
      {missing && <Unknown address={address} side={side} model={model} />}
      {error && <p class="problem" role="alert">{error}</p>}
      {entry && !missing && !content && !error && <p class="faint loading">Loading …</p>}
      {content && key && model && <Content {...{ content, chunk: key, model, side, query, dark, address }} />}
    </article>
  );
}

/** What comes next is read ahead, so that it is there at once. */
function useAhead(neighbours: (Address | null)[]): void {
  const next = neighbours[1];
  const text = next ? addressText(next) : "";
  useEffect(() => {
    const entry = next && layerEntry(next.layer);
    if (!next || !entry) return;
    const timer = window.setTimeout(() => void load(...files.neuron(next.layer, entry.slug, next.neuron)).catch(() => undefined), 250);
    return () => window.clearTimeout(timer);
  }, [text]);
}

function Unknown({ address, side, model }: { address: Address; side: number; model: LayerModel | null }) {
  const asked = addressText({ ...address, part: null });
  const near: Address[] = model
    ? [...model.layer.neurons.neuron]
        .sort((a, b) => Math.abs(a - address.neuron) - Math.abs(b - address.neuron) || a - b)
        .slice(0, 5)
        .map((neuron) => ({ ...address, neuron, part: null }))
    : nearest(address.layer, site.layers.map(({ name }) => name)).map((layer) => ({ ...address, layer, part: null }));
  return (
    <div class="problem" role="alert">
      <p>{model ? `This atlas has no neuron ${oneLine(asked)}.` : `This atlas has no layer ${oneLine(address.layer)}.`} The nearest:</p>
      <ul>{near.map((one) => <li key={addressText(one)}><a href={hrefOf(withPane(one, side))}>{oneLine(addressText(one))}</a></li>)}</ul>
      <p class="faint"><code>pure atlas</code> takes in what has been collected and clustered; build it again after you collected more.</p>
    </div>
  );
}

function Tools({ address, side, sides, query, neighbours, onClose, onCompare, neuron, model }: PaneProps & { neuron: Neuron | null; model: LayerModel | null }) {
  const [before, after] = neighbours;
  const step = (to: Address | null, glyph: "left" | "right", title: string, keys: string) =>
    to ? (
      <a class="button bare" href={hrefOf(withPane({ ...to, part: null }, side))} title={`${title} (${keys})`} aria-label={title} aria-keyshortcuts={keys}><GlyphOf of={glyph} /></a>
    ) : (
      <Button glyph={glyph} title={title} disabled onClick={() => undefined} />
    );
  const whole = query.images === "whole";
  const figure = (kind: "svg" | "png") => neuron && model && void exportNeuron(kind, { neuron, model, images: query.images, dark: false });
  return (
    <div class="bar tools">
      <Button glyph="back" title={`Back to ${oneLine(address.layer)}`} onClick={onClose} class="back">{oneLine(address.layer)}</Button>
      {step(before, "left", "Neuron before", "p")}
      {step(after, "right", "Next neuron", "n")}
      {model?.layer.crop !== "none" && <Button glyph="swap" title="Switch between what the neuron saw and the whole image" keys="m" pressed={whole} onClick={() => change({ images: whole ? "seen" : "whole" })}>
        {whole ? "whole images" : "what it saw"}
      </Button>}
      <span class="space" />
      {sides < 2 && !model?.alone && <Button glyph="compare" title="Compare with another neuron" keys="c" onClick={onCompare}>Compare with…</Button>}
      <Menu title="Export" glyph="down">
        <Button glyph="down" title="Save the neuron as SVG" onClick={() => figure("svg")}>Neuron as SVG</Button>
        <Button glyph="down" title="Save the neuron as PNG" onClick={() => figure("png")}>Neuron as PNG</Button>
        <Button glyph="down" title="Print, or save as PDF" onClick={() => window.print()}>Print or PDF</Button>
        <Copy text={link} title="Copy a link to this view" glyph="link">Link to this view</Copy>
        <Copy text={site.bibtex} title="Copy the citation">BibTeX</Copy>
      </Menu>
      <Button glyph="close" title={`Close neuron ${addressText({ ...address, part: null })}`} onClick={onClose} class="close" />
    </div>
  );
}

function GlyphOf({ of }: { of: "left" | "right" }) {
  return (
    <svg class="glyph" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={of === "left" ? "M10 3L5 8l5 5" : "M6 3l5 5-5 5"} fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  );
}

interface ContentProps {
  content: Neuron;
  chunk: string;
  model: LayerModel;
  side: number;
  query: Query;
  dark: boolean;
  address: Address;
}

function Content({ content, chunk, model, side, query, dark, address }: ContentProps) {
  const { layer } = model;
  const gallery = { chunk, neuron: content, images: query.images };
  const compose = (to: Address) => withPane(to, side);
  return (
    <>
      <header class="head">
        <p class="faint crumbs">
          {oneLine(site.model)} · <a href={hrefOf({ kind: "layer", layer: layer.name, panes: [] })}>{oneLine(layer.name)}</a>
        </p>
        <h1>
          Neuron {content.neuron}
          {content.name && <span class="name"> {oneLine(content.name)}</span>}
          {content.label && <span class={content.label === "no label" ? "label none" : "label"}>{oneLine(content.label)}</span>}
        </h1>
        <p class="verdict">{oneLine(content.verdict)}</p>
        <Facts facts={content.facts} />
        {content.sentences.map((sentence) => <p key={sentence} class="note"><Told text={sentence} /></p>)}
        {address.part !== null && !content.parts.some(({ part }) => part === address.part) && (
          <p class="note" role="alert">There is no virtual neuron {oneLine(addressText(address))}: the neuron has {content.parts.length || "none"}.</p>
        )}
      </header>
      <nav class="strip" aria-label="Virtual neurons of this neuron">
        {content.parts.map((part) => (
          <a
            key={part.part}
            href={hrefOf(compose({ ...address, part: part.part }))}
            aria-current={address.part === part.part ? "location" : undefined}
          >
            <Marker index={part.part} dark={dark} />
            <b>{address.neuron}.{part.part + 1}</b> {oneLine(part.label || part.classes[0]?.[0] || "")} <span class="faint">{part.size}</span>
          </a>
        ))}
      </nav>
      {content.parts.map((part) => (
        <Section key={part.part} {...{ part, content, gallery, model, side, dark }} current={address.part === part.part} />
      ))}
      <section class="block">
        <h2>Over the whole range of activation</h2>
        {content.histogram ? (
          <>
            <p class="faint">Images of {oneLine(content.histogram.data)} over activation, in ranges that hold equally many, and the virtual neurons' shares by {basis(content.histogram)}; grey: none of them.</p>
            <div class="chart" tabIndex={0} role="region" aria-label={`Images over activation of neuron ${content.neuron}`}><HistogramChart histogram={content.histogram} dark={dark} inks={ON_SCREEN} /></div>
          </>
        ) : (
          <p class="faint">Not measured yet. <code>pure assign --neurons {oneLine(addressText({ ...address, part: null }))}</code> measures it; then build the atlas again.</p>
        )}
      </section>
      <Commands commands={content.commands} />
      <Provenance model={model} />
      <footer class="paper faint">{provenance(layer.name, layer.features, `k ${layer.k}`, `${layer.n} images for each neuron`, layer.fingerprint.slice(0, 12))}</footer>
    </>
  );
}

export function Facts({ facts }: { facts: [string, string][] }) {
  if (!facts.length) return null;
  return <dl class="facts">{facts.map(([term, text]) => <div key={term}><dt>{oneLine(term)}</dt><dd>{oneLine(text)}</dd></div>)}</dl>;
}

function Commands({ commands }: { commands: string[] }) {
  if (!commands.length) return null;
  return (
    <section class="block commands">
      <h2>Go on from here</h2>
      {commands.map((command) => <div key={command} class="command"><code>{oneLine(command)}</code><Copy text={command} title="Copy the command" /></div>)}
    </section>
  );
}

function Provenance({ model }: { model: LayerModel }) {
  const [open, setOpen] = useState(false);
  const { layer } = model;
  return (
    <details class="block provenance" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Settings and provenance</summary>
      {open && (
        <>
          <Facts facts={[...site.about, ["Layer", layer.name], ["Features", layer.features], ["k", layer.k], ["Lower layer", layer.lower], ["Images for each neuron", String(layer.n)], ["Crop", layer.crop], ["Fingerprint", layer.fingerprint], ["pure", site.pure]]} />
          <pre tabIndex={0} aria-label="Settings">{JSON.stringify(layer.settings, null, 2)}</pre>
        </>
      )}
    </details>
  );
}
