// A virtual neuron: a section of its neuron's pane.
import { type Address, addressText, parseAddress } from "./address";
import { CircuitGraph, explained, ON_SCREEN } from "./circuit";
import { category } from "./colors";
import { type Gallery, Grid } from "./images";
import type { LayerModel } from "./model";
import { useModel } from "./models";
import { Facts } from "./neuron";
import { hrefOf, link, withPane } from "./route";
import { layerEntry } from "./site";
import type { Neuron, Part } from "./types";
import { Copy, Icon, Marker, Meter } from "./ui";
import { count, number, oneLine, percent, signed, times } from "./words";

const CLASSES = 5; // shown of a virtual neuron

interface Props {
  part: Part;
  content: Neuron;
  gallery: Gallery;
  model: LayerModel;
  side: number;
  dark: boolean;
  current: boolean;
}

export function slotsOf(neuron: Neuron, part: number): number[] {
  const slots = neuron.references.part.flatMap((one, slot) => (one === part ? [slot] : []));
  const shown = new Set(neuron.shown);
  const withTiles = slots.filter((slot) => shown.has(slot));
  return withTiles.length ? withTiles : slots;
}

export function Section({ part, content, gallery, model, side, dark, current }: Props) {
  const address: Address = { layer: model.layer.name, neuron: content.neuron, part: part.part };
  const text = addressText(address);
  const slots = slotsOf(content, part.part);
  const color = category(part.part, dark);
  return (
    <section class={`part ${current ? "current" : ""}`} data-part={part.part} style={{ borderColor: color }} aria-label={`Virtual neuron ${part.part + 1}`}>
      <header>
        <h2>
          <Marker index={part.part} dark={dark} size={16} />
          <a href={hrefOf(withPane(address, side))}>{oneLine(text)}</a>
          <Copy text={() => link().replace(/#.*/s, hrefOf(withPane(address, side)))} title={`Copy a link to ${text}`} glyph="link" />
          {part.label && <span class={part.label === "no label" ? "label none" : "label"}>{oneLine(part.label)}</span>}
        </h2>
        <Score part={part} />
        <Facts facts={[["images", count(part.size)], ...part.facts]} />
      </header>
      <Classes part={part} />
      <Grid gallery={gallery} slots={slots} name={`Reference images of ${text}`} />
      {slots.length < part.size && <p class="faint small">{count(slots.length)} of {count(part.size, "image")} are in this atlas.</p>}
      <div class="columns">
        <Channels part={part} side={side} />
        <Nearest part={part} model={model} side={side} />
        <Effects part={part} />
      </div>
      {part.outliers.length > 0 && (
        <div class="sub">
          <h3>Outliers</h3>
          <p class="faint small">Images whose circuits lie furthest from the others'.</p>
          <Grid gallery={gallery} slots={part.outliers} name={`Outliers of ${text}`} />
        </div>
      )}
      {part.circuit && (
        <div class="sub">
          <h3>Circuit</h3>
          <div class="chart" tabIndex={0} role="region" aria-label={`Circuit of ${text}, graph`}>
            <CircuitGraph circuit={part.circuit} title={`${content.neuron}.${part.part + 1}`} color={color} inks={ON_SCREEN} to={(to) => hrefOf(withPane(to, side))} />
          </div>
          <p class="faint small">
            {explained(part.circuit)} Blue raises, orange lowers; hollow channels are shared with a sibling.
          </p>
        </div>
      )}
    </section>
  );
}

function Score({ part }: { part: Part }) {
  const judged = part.concepts.filter(({ auprc }) => auprc !== null);
  if (!part.label && !part.concepts.length)
    return <p class="faint small">No label yet. <code>pure label</code> finds one; then build the atlas again.</p>;
  return (
    <ul class="concepts">
      {part.concepts.slice(0, CLASSES).map(({ name, score, auprc, chance }) => (
        <li key={name}>
          <span class="what">{oneLine(name)}</span>
          <span class="faint">fit {number(score)}</span>
          {auprc !== null && (
            <>
              <Meter value={auprc} against={chance} title={`AUPRC ${number(auprc)}; the line is chance, ${number(chance)}`} />
              <span>AUPRC {number(auprc)} <span class="faint">chance {number(chance)}</span></span>
            </>
          )}
        </li>
      ))}
      {!judged.length && part.label !== "" && <li class="faint">not judged</li>}
    </ul>
  );
}

function Classes({ part }: { part: Part }) {
  if (!part.classes.length) return null;
  const shown = part.classes.slice(0, CLASSES);
  const rest = part.classes.length - shown.length;
  return (
    <ul class="classes" aria-label="Classes of its images">
      {shown.map(([name, images, lift]) => (
        <li key={name} title={`${oneLine(name)}: ${images} of ${part.size} images${lift === null ? "" : `, ${number(lift)} times as often as in the data`}`}>
          <span class="share" style={{ width: `${(100 * images) / Math.max(part.size, 1)}%` }} aria-hidden="true" />
          <span class="what">{oneLine(name)}</span>
          <span>{images}</span>
          {lift !== null && <span class="faint">{times(lift)}</span>}
        </li>
      ))}
      {rest > 0 && <li class="faint rest">{count(rest, "more class", "more classes")}</li>}
    </ul>
  );
}

function Channels({ part, side }: { part: Part; side: number }) {
  if (!part.channels?.length) return null;
  const most = Math.max(...part.channels.map(({ share }) => Math.abs(share)), 1e-9);
  return (
    <div class="sub">
      <h3>Channels that set it apart</h3>
      <ol class="bars">
        {part.channels.map(({ layer, channel, share }) => {
          const to: Address = { layer, neuron: channel, part: null };
          return (
            <li key={addressText(to)}>
              {layerEntry(layer) ? <a class="channel" href={hrefOf(withPane(to, side))}><ChannelName {...{ layer, channel }} /></a> : <span class="channel"><ChannelName {...{ layer, channel }} /></span>}
              <span class="track" aria-hidden="true"><span style={{ width: `${(100 * Math.abs(share)) / most}%` }} /></span>
              <span class="number">{percent(share)}</span>
            </li>
          );
        })}
      </ol>
    </div>
  );
}

/** The number stays where the name is too long. */
function ChannelName({ layer, channel }: { layer: string; channel: number }) {
  return <><span>{oneLine(layer)}</span><b>/{channel}</b></>;
}

function Nearest({ part, model, side }: { part: Part; model: LayerModel; side: number }) {
  if (!part.nearest.length) return null;
  return (
    <div class="sub">
      <h3>Nearest units <span class="faint">by {oneLine(model.layer.nearestBy)}</span></h3>
      <ol class="near">{part.nearest.map((one) => <NearUnit key={one.address} {...one} layer={model.layer.name} side={side} />)}</ol>
    </div>
  );
}

function NearUnit({ address, score, label, layer, side }: { address: string; score: number; label: string; layer: string; side: number }) {
  const to = parseAddress(address, layer);
  return (
    <li>
      {to ? <UnitLink to={to} side={side} label={label} /> : <span>{oneLine(address)}</span>}
      <span class="number faint">{number(score)}</span>
    </li>
  );
}

export function UnitLink({ to, side, label }: { to: Address; side: number; label: string }) {
  const model = useModel(to.layer).content;
  if (model && model.unitOf(to) < 0)
    return <span class="unit" title="Not in this atlas"><span>{oneLine(addressText(to))}</span>{label && <span class="faint">{oneLine(label)}</span>}</span>;
  return (
    <a class="unit" href={hrefOf(withPane(to, side))}>
      <Icon layer={model?.layer ?? null} unit={model?.unitOf(to) ?? -1} size={24} />
      <span>{oneLine(addressText(to))}</span>
      {label && <span class="faint">{oneLine(label)}</span>}
    </a>
  );
}

function Effects({ part }: { part: Part }) {
  const [up, down] = [part.drives ?? [], part.holds ?? []];
  if (!up.length && !down.length) return null;
  const most = Math.max(...[...up, ...down].map(([, value]) => Math.abs(value)), 1e-9);
  const rows = (list: [string, number][], kind: string) =>
    list.map(([name, value]) => (
      <li key={kind + name} class={kind}>
        <span>{oneLine(name)}</span>
        <span class="track" aria-hidden="true"><span style={{ width: `${(100 * Math.abs(value)) / most}%` }} /></span>
        <span class="number">{signed(value)}</span>
      </li>
    ));
  return (
    <div class="sub">
      <h3>Drives and holds back <span class="faint" title="How far outputs fall against the mean of all without the whole neuron, on average over this virtual neuron's images (up to 40 of the neuron's)">the neuron, on these images</span></h3>
      <ol class="bars effects">{rows(up, "up")}{rows(down, "down")}</ol>
    </div>
  );
}
