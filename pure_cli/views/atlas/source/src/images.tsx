// Reference images: tiles cut from a sheet, and each of them enlarged.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Images } from "./address";
import { imageUrl } from "./load";
import { Button, Copy, Modal, useSize } from "./ui";
import { site } from "./site";
import type { Box, Neuron, Picture } from "./types";
import { count, number, oneLine, percent } from "./words";

const TILE = 74; // px
const GAP = 4; // px
const ROWS = 2; // before "all"
const LARGE = 340; // px
const PIXELS = 3; // an image enlarged more than so keeps its pixels' edges

export interface Gallery {
  chunk: string; // of the neuron, which holds the sheets
  neuron: Neuron;
  images: Images;
}

export function className(index: number): string {
  return index < 0 ? "" : (site.classes[index] ?? `class ${index}`);
}

/** What is said of a reference: path, class, score. */
export function told(neuron: Neuron, slot: number): string {
  const { path, class: classes, score } = neuron.references;
  return [oneLine(path[slot]!), oneLine(className(classes[slot]!)), `score ${number(score[slot])}`].filter(Boolean).join(" · ");
}

function Cut({ gallery, slot, images, room, outlined }: { gallery: Gallery; slot: number; images: Images; room: number; outlined: boolean }) {
  const { neuron, chunk } = gallery;
  const sheet: Picture | null = neuron.sheets[images] ?? neuron.sheets.whole ?? neuron.sheets.seen;
  const tile = neuron.shown.indexOf(slot);
  if (!sheet || tile < 0) return <span class="cut none">no image</span>;
  const [w, h] = sheet.sizes[tile]!;
  const scale = room / Math.max(w, h, 1);
  const cell = sheet.tile * scale;
  const style = {
    width: `${w * scale}px`,
    height: `${h * scale}px`,
    backgroundImage: `url("${imageUrl(chunk, sheet.src)}")`,
    backgroundSize: `${sheet.columns * cell}px ${Math.ceil(neuron.shown.length / sheet.columns) * cell}px`,
    backgroundPosition: `${-(tile % sheet.columns) * cell}px ${-Math.floor(tile / sheet.columns) * cell}px`,
    ...(scale >= PIXELS ? { imageRendering: "pixelated" } : {}),
  };
  const box = outlined && sheet === neuron.sheets.whole ? neuron.references.box[slot] : null;
  return <span class="cut" style={style}>{box && <Outline box={box} />}</span>;
}

function Outline({ box: [top, bottom, left, right] }: { box: Box }) {
  const share = (value: number) => `${value * 100}%`;
  return <span class="box" style={{ top: share(top), left: share(left), width: share(right - left), height: share(bottom - top) }} />;
}

/** Tiles of references, the first two rows until all are wanted. */
export function Grid({ gallery, slots, name, onExpand }: { gallery: Gallery; slots: number[]; name: string; onExpand?: (all: boolean) => void }) {
  const [attach, { width }] = useSize<HTMLDivElement>();
  const [all, setAll] = useState(false);
  const [enlarged, setEnlarged] = useState(-1);
  const columns = Math.max(1, Math.floor((width + GAP) / (TILE + GAP)));
  const few = slots.slice(0, columns * ROWS);
  const expand = (next: boolean) => {
    setAll(next);
    onExpand?.(next);
  };
  return (
    <div class="gallery" ref={attach}>
      <div class="tiles" role="list" aria-label={name}>
        {(all ? slots : few).map((slot, at) => (
          <div role="listitem" key={slot}>
            <button type="button" class="tile" title={told(gallery.neuron, slot)} aria-label={told(gallery.neuron, slot)} onClick={() => setEnlarged(at)}>
              <Cut gallery={gallery} slot={slot} images={gallery.images} room={TILE} outlined />
            </button>
          </div>
        ))}
      </div>
      {few.length < slots.length && (
        <Button title={all ? "Show the first rows only" : `Show all ${slots.length} images`} onClick={() => expand(!all)} class="quiet more">
          {all ? "fewer" : `all ${count(slots.length, "image")}`}
        </Button>
      )}
      {enlarged >= 0 && <Enlarged {...{ gallery, slots, name }} at={enlarged} onMove={setEnlarged} onClose={() => setEnlarged(-1)} />}
    </div>
  );
}

function Enlarged({ gallery, slots, name, at, onMove, onClose }: { gallery: Gallery; slots: number[]; name: string; at: number; onMove: (at: number) => void; onClose: () => void }) {
  const { neuron } = gallery;
  const { path, class: classes, score, part, box, index } = neuron.references;
  const slot = slots[at]!;
  const step = (by: number) => onMove((at + by + slots.length) % slots.length);
  const latest = useRef(step);
  latest.current = step;
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by) latest.current(by);
    };
    document.addEventListener("keydown", listen);
    return () => document.removeEventListener("keydown", listen);
  }, []);
  const [w, h] = neuron.sheets.whole?.sizes[neuron.shown.indexOf(slot)] ?? [1, 1];
  const room = Math.min(LARGE, (window.innerWidth - 64) * (w > h ? 1 : 0.98));
  const corners = box[slot];
  return (
    <Modal title={`${name}, ${at + 1} of ${slots.length}`} onClose={onClose} wide>
      <div class="enlarged">
        {neuron.sheets.seen && <figure><Cut gallery={gallery} slot={slot} images="seen" room={room} outlined={false} /><figcaption>What the neuron saw</figcaption></figure>}
        {neuron.sheets.whole && <figure><Cut gallery={gallery} slot={slot} images="whole" room={room} outlined /><figcaption>Whole image</figcaption></figure>}
      </div>
      <dl class="facts">
        <div class="path"><dt>path</dt><dd>{oneLine(path[slot]!)} <Copy text={path[slot]!} title="Copy the path" /></dd></div>
        {className(classes[slot]!) && <div><dt>class</dt><dd>{oneLine(className(classes[slot]!))}</dd></div>}
        <div><dt>score</dt><dd>{number(score[slot])}</dd></div>
        <div><dt>image</dt><dd>{index[slot]}</dd></div>
        <div><dt>virtual neuron</dt><dd>{part[slot]! < 0 ? "none" : part[slot]! + 1}</dd></div>
        {corners && <div><dt>box</dt><dd>{percent(corners[2])}–{percent(corners[3])} across, {percent(corners[0])}–{percent(corners[1])} down</dd></div>}
      </dl>
      <div class="bar">
        <Button glyph="left" title="Image before" onClick={() => step(-1)} keys="ArrowLeft" />
        <Button glyph="right" title="Next image" onClick={() => step(1)} keys="ArrowRight" />
      </div>
    </Modal>
  );
}
