// A neuron as one figure: SVG that needs nothing else, or PNG drawn from it.
import { render } from "preact";
import { addressText, type Images } from "./address";
import { CircuitGraph, circuitHeight, explained, ON_PAPER } from "./circuit";
import { category, outline, PALETTE, shape } from "./colors";
import { HISTOGRAM_HEIGHT, HistogramChart } from "./histogram";
import { className } from "./images";
import type { LayerModel } from "./model";
import { slotsOf } from "./part";
import { savePng, saveSvg } from "./save";
import { provenance, site } from "./site";
import type { Neuron, Part } from "./types";
import { number, oneLine, percent, times } from "./words";

const WIDTH = 860;
const MARGIN = 16;
const [TILE, GAP, COLUMNS, ROWS] = [62, 4, 12, 2];
const LINE = 15;

interface Wanted {
  neuron: Neuron;
  model: LayerModel;
  images: Images;
  dark: boolean;
}

type Tiles = Map<number, { src: string; w: number; h: number }>;

/** Each tile cut out by itself: programs that draw SVG differ in how they crop an image. */
async function cutTiles(neuron: Neuron, images: Images, slots: number[]): Promise<Tiles> {
  const tiles: Tiles = new Map();
  const sheet = neuron.sheets[images] ?? neuron.sheets.whole ?? neuron.sheets.seen;
  if (!sheet) return tiles;
  const image = new Image();
  await new Promise((done, fail) => {
    image.onload = done;
    image.onerror = () => fail(new Error("The images of this neuron are damaged. Build the atlas again with pure atlas."));
    image.src = sheet.src;
  });
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d")!;
  for (const slot of slots) {
    const at = neuron.shown.indexOf(slot);
    if (at < 0) continue;
    const [w, h] = sheet.sizes[at]!;
    [canvas.width, canvas.height] = [w, h];
    context.drawImage(image, (at % sheet.columns) * sheet.tile, Math.floor(at / sheet.columns) * sheet.tile, w, h, 0, 0, w, h);
    tiles.set(slot, { src: canvas.toDataURL("image/png"), w, h });
  }
  return tiles;
}

function shortened(text: string, letters: number): string {
  const line = oneLine(text);
  return line.length > letters ? `${line.slice(0, letters - 1)}…` : line;
}

function details(part: Part): string[] {
  const best = part.concepts[0];
  const classes = part.classes.slice(0, 5).map(([name, images, lift]) => `${name} ${images}${lift === null ? "" : ` (${times(lift)})`}`);
  const list = (title: string, items: string[]) => (items.length ? [`${title}: ${items.join(", ")}`] : []);
  return [
    ...(best?.auprc != null ? [`AUPRC ${number(best.auprc)}, by chance ${number(best.chance)}`] : []),
    ...list("Classes", classes),
    ...list("Channels that set it apart", (part.channels ?? []).slice(0, 6).map(({ layer, channel, share }) => `${layer}/${channel} ${percent(share)}`)),
    ...list("Drives", (part.drives ?? []).slice(0, 4).map(([name, value]) => `${name} ${number(value)}`)),
    ...list("Holds back", (part.holds ?? []).slice(0, 4).map(([name, value]) => `${name} ${number(value)}`)),
  ];
}

function Tile({ x, y, tile, box, color }: { x: number; y: number; tile: { src: string; w: number; h: number }; box: number[] | null; color: string }) {
  const scale = TILE / Math.max(tile.w, tile.h);
  const [w, h] = [tile.w * scale, tile.h * scale];
  const [left, top] = [x + (TILE - w) / 2, y + (TILE - h) / 2];
  return (
    <>
      <image href={tile.src} x={left} y={top} width={w} height={h} />
      {box && <rect x={left + box[2]! * w} y={top + box[0]! * h} width={(box[3]! - box[2]!) * w} height={(box[1]! - box[0]!) * h} fill="none" stroke={color} stroke-width="1.2" />}
    </>
  );
}

function PartFigure({ part, y, tiles, wanted }: { part: Part; y: number; tiles: Tiles; wanted: Wanted }) {
  const { neuron, model, images } = wanted;
  const color = category(part.part, false);
  const slots = slotsOf(neuron, part.part).slice(0, COLUMNS * ROWS);
  const lines = details(part);
  const grid = y + 24 + lines.length * LINE;
  const rows = Math.ceil(slots.length / COLUMNS);
  const below = grid + rows * (TILE + GAP) + 6;
  return (
    <g>
      <path d={outline(shape(part.part), MARGIN + 6, y + 8, 5)} fill={color} />
      <text x={MARGIN + 18} y={y + 13} font-size="13" font-weight="600" fill={ON_PAPER.ink}>
        {shortened(addressText({ layer: model.layer.name, neuron: neuron.neuron, part: part.part }), 50)}
        <tspan font-weight="400" dx="8">{shortened(part.label, 60)}</tspan>
        <tspan font-weight="400" dx="8" fill={ON_PAPER.faint}>{part.size} images</tspan>
      </text>
      {lines.map((line, at) => <text key={line} x={MARGIN + 18} y={y + 30 + at * LINE} font-size="11" fill={ON_PAPER.faint}>{shortened(line, 140)}</text>)}
      {slots.map((slot, at) => {
        const tile = tiles.get(slot);
        if (!tile) return null;
        const [x, top] = [MARGIN + 18 + (at % COLUMNS) * (TILE + GAP), grid + Math.floor(at / COLUMNS) * (TILE + GAP)];
        const told = [neuron.references.path[slot]!, className(neuron.references.class[slot]!)].map(oneLine).join(" · ");
        return <g key={slot}><title>{told}</title><Tile x={x} y={top} tile={tile} box={images === "whole" ? neuron.references.box[slot]! : null} color={PALETTE[1]!} /></g>;
      })}
      {part.circuit && (
        <g transform={`translate(${MARGIN + 18},${below})`}>
          <CircuitGraph circuit={part.circuit} title={`${neuron.neuron}.${part.part + 1}`} color={color} inks={ON_PAPER} to={null} />
          <text x="0" y={circuitHeight(part.circuit) + 12} font-size="10" fill={ON_PAPER.faint}>{explained(part.circuit)}</text>
        </g>
      )}
    </g>
  );
}

function partHeight(part: Part, neuron: Neuron): number {
  const rows = Math.ceil(Math.min(slotsOf(neuron, part.part).length, COLUMNS * ROWS) / COLUMNS);
  const circuit = part.circuit ? circuitHeight(part.circuit) + 24 : 0;
  return 24 + details(part).length * LINE + rows * (TILE + GAP) + circuit + 20;
}

function Figure({ wanted, tiles, height }: { wanted: Wanted; tiles: Tiles; height: number }) {
  const { neuron, model } = wanted;
  const { layer } = model;
  let y = 74;
  const parts = neuron.parts.map((part) => {
    const at = y;
    y += partHeight(part, neuron);
    return <PartFigure key={part.part} part={part} y={at} tiles={tiles} wanted={wanted} />;
  });
  const facts = neuron.facts.map(([term, text]) => `${term} ${text}`).join(" · ");
  return (
    <>
      <rect width={WIDTH} height={height} fill={ON_PAPER.ground} />
      <text x={MARGIN} y="26" font-size="17" font-weight="600" fill={ON_PAPER.ink}>
        {shortened(`${site.model} · ${layer.name} · neuron ${neuron.neuron}${neuron.name ? ` · ${neuron.name}` : ""}`, 70)}
        <tspan font-weight="400" dx="10">{shortened(neuron.label, 40)}</tspan>
      </text>
      <text x={MARGIN} y="44" font-size="12" fill={ON_PAPER.ink}>{shortened(neuron.verdict, 130)}</text>
      <text x={MARGIN} y="60" font-size="11" fill={ON_PAPER.faint}>{shortened(facts, 140)}</text>
      {parts}
      {neuron.histogram && (
        <g transform={`translate(${MARGIN + 18},${y})`}><HistogramChart histogram={neuron.histogram} dark={false} inks={ON_PAPER} /></g>
      )}
      <text x={MARGIN} y={height - 10} font-size="9" fill={ON_PAPER.faint}>
        {shortened(provenance(layer.name, layer.features, `k ${layer.k}`, `${layer.n} images for each neuron`, layer.fingerprint.slice(0, 12)), 170)}
      </text>
    </>
  );
}

async function neuronSvg(wanted: Wanted): Promise<string> {
  const { neuron, images } = wanted;
  const slots = neuron.parts.flatMap(({ part }) => slotsOf(neuron, part).slice(0, COLUMNS * ROWS));
  const tiles = await cutTiles(neuron, images, slots);
  const parts = neuron.parts.reduce((sum, part) => sum + partHeight(part, neuron), 0);
  const height = 74 + parts + (neuron.histogram ? HISTOGRAM_HEIGHT + 12 : 0) + 28;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const size = { width: WIDTH, height, viewBox: `0 0 ${WIDTH} ${height}`, "font-family": "Helvetica, Arial, sans-serif" };
  for (const [name, value] of Object.entries(size)) svg.setAttribute(name, String(value));
  render(<Figure wanted={wanted} tiles={tiles} height={height} />, svg);
  return new XMLSerializer().serializeToString(svg);
}

export async function exportNeuron(kind: "svg" | "png", wanted: Wanted): Promise<void> {
  const svg = await neuronSvg(wanted);
  const name = `${wanted.model.layer.name}-${wanted.neuron.neuron}`;
  if (kind === "svg") saveSvg(svg, name);
  else await savePng(svg, name);
}
