import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Address, Query } from "./address";
import { Button, Icon, Marker, Menu, Copy, tell, useSize } from "./ui";
import { savePng, saveSvg } from "./save";
import { type Coloring, coloring, colorings, Plot, type View, WHOLE } from "./plot";
import { viridis } from "./colors";
import { describe, type LayerModel } from "./model";
import { change, link } from "./route";
import { provenance, site } from "./site";
import { count, number, oneLine } from "./words";

const views = new Map<string, View>(); // where one looked at each map last
const DRAGGED = 4; // px that tell a drag from a click
const ARROWS: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

interface Props {
  model: LayerModel;
  query: Query;
  mask: Uint8Array;
  shown: number;
  marked: number[];
  hovered: number;
  onHover: (unit: number) => void;
  onOpen: (address: Address) => void;
  dark: boolean;
}

export function Map2D(props: Props) {
  const { model, query, mask, marked, hovered, onHover, onOpen, dark } = props;
  const { maps } = model.layer;
  const map = maps.find(({ key }) => key === query.map) ?? maps[0];
  const color = useMemo(() => coloring(model, query.color), [model, query.color]);
  const canvas = useRef<HTMLCanvasElement>(null);
  const over = useRef<HTMLCanvasElement>(null);
  const plot = useRef<Plot | null>(null);
  const [attach, { width, height }] = useSize<HTMLDivElement>();
  const [tip, setTip] = useState<{ unit: number; x: number; y: number } | null>(null);

  useEffect(() => {
    if (!canvas.current || !map) return;
    plot.current ??= new Plot(canvas.current, over.current!);
    const one = plot.current;
    const key = `${model.layer.name}\n${map.key}`;
    if (one.model !== model) one.forget();
    if (one.model !== model || one.map !== map) one.view = { ...(views.get(key) ?? WHOLE) };
    one.show({ model, map, color, dark, marked, hovered, selected: mask });
    one.resize(width, height);
    return () => void views.set(key, one.view);
  });
  useEffect(() => {
    if (plot.current?.model && marked[0] !== undefined) plot.current.reveal(marked[0]);
  }, [marked[0], width]);

  const show = (unit: number) => {
    onHover(unit);
    const place = unit >= 0 ? plot.current!.at(unit) : null;
    setTip(place ? { unit, x: place[0], y: place[1] } : null);
  };
  /** Around the unit that one looks at, where there is one. */
  const zoomAt = (factor: number) => {
    const one = plot.current;
    const unit = hovered >= 0 ? hovered : marked[0];
    const place = one && unit !== undefined ? one.at(unit) : null;
    one?.zoom(factor, ...(place ?? []));
  };
  const pointer = usePointer(canvas, plot, show, (unit) => onOpen(model.address(unit)));

  const onKeyDown = (event: KeyboardEvent) => {
    const one = plot.current;
    if (!one || event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    if (arrow) {
      const next = one.towards(hovered >= 0 ? hovered : (marked[0] ?? -1), ...arrow);
      if (next >= 0) {
        one.reveal(next);
        show(next);
        tell(describe(model, next));
      }
    } else if (event.key === "Enter" && hovered >= 0) onOpen(model.address(hovered));
    else if (event.key === "+" || event.key === "=") zoomAt(1.4);
    else if (event.key === "-") zoomAt(1 / 1.4);
    else if (event.key === "0") one.look(WHOLE);
    else return;
    event.preventDefault();
  };

  if (!map) return <p class="empty map">This layer has no map yet. Run <code>pure embed</code>, then <code>pure atlas</code> again.</p>;
  const figure = () => plot.current!.svg(`${site.model} · ${model.layer.name} · ${map.title}`, foot(model, props.shown));
  const name = `${model.layer.name}-map`;
  return (
    <section class="map" aria-label="Map of virtual neurons">
      <MapBar {...{ model, map, color }} exports={
        <>
          <Button title="Save the map as SVG" onClick={() => saveSvg(figure(), name)}>Map as SVG</Button>
          <Button title="Save the map as PNG" onClick={() => void savePng(figure(), name)}>Map as PNG</Button>
          <Copy text={link} title="Copy a link to this view" glyph="link">Link to this view</Copy>
          <Copy text={site.bibtex} title="Copy the citation">BibTeX</Copy>
        </>
      } />
      <div class="canvas" ref={attach}>
        <canvas
          ref={canvas}
          tabIndex={0}
          role="application"
          aria-label={`${map.title}: ${count(props.shown, "virtual neuron")}. Arrow keys go to the nearest one in a direction, Enter opens it, plus and minus zoom.`}
          onKeyDown={onKeyDown}
          onBlur={() => show(-1)}
          {...pointer}
        />
        <canvas class="over" ref={over} aria-hidden="true" />
        {tip && tip.unit === hovered && <Tip {...tip} model={model} color={color} width={width} />}
        <div class="zoom">
          <Button glyph="plus" title="Zoom in" onClick={() => zoomAt(1.6)} />
          <Button glyph="minus" title="Zoom out" onClick={() => zoomAt(1 / 1.6)} />
          <Button glyph="fit" title="The whole map" onClick={() => plot.current?.look(WHOLE)} />
        </div>
      </div>
      <Legend {...{ color, query, dark }} />
    </section>
  );
}

function foot(model: LayerModel, shown: number): string {
  const { layer } = model;
  return provenance(layer.name, layer.features, `k ${layer.k}`, `${count(shown)} of ${count(model.size)} virtual neurons`, layer.fingerprint.slice(0, 12));
}

function MapBar({ model, map, color, exports }: { model: LayerModel; map: { key: string }; color: Coloring; exports: preact.ComponentChildren }) {
  const { maps } = model.layer;
  return (
    <div class="bar">
      <label>
        <select aria-label="Map" value={map.key} onChange={(event) => change({ map: event.currentTarget.value === maps[0]!.key ? "" : event.currentTarget.value })}>
          {maps.map(({ key, title }) => <option key={key} value={key}>{title}</option>)}
        </select>
      </label>
      <label>
        <span class="faint" aria-hidden="true">colour</span>
        <select
          aria-label="Colour"
          value={color.key}
          onChange={(event) => change({ color: event.currentTarget.value === colorings(model)[0]!.key ? "" : event.currentTarget.value })}
        >
          {colorings(model).map(({ key, title }) => <option key={key} value={key}>{title}</option>)}
        </select>
      </label>
      <span class="space" />
      <Menu title="Export" glyph="down">{exports}</Menu>
    </div>
  );
}

function Legend({ color, query, dark }: { color: Coloring; query: Query; dark: boolean }) {
  if (color.kind === "scale") {
    const stops = Array.from({ length: 9 }, (_, i) => viridis(i / 8, dark)).join(",");
    return (
      <div class="legend">
        <span class="number">{number(color.low)}</span>
        <span class="ramp" style={{ backgroundImage: `linear-gradient(to right,${stops})` }} />
        <span class="number">{number(color.high)}</span>
        <span class="faint">{color.title}</span>
      </div>
    );
  }
  const pick = (name: string) =>
    color.key === "class" ? change({ class: query.class === name ? "" : name }) : change({ q: query.q === name ? "" : name });
  const active = color.key === "class" ? query.class : query.q;
  return (
    <div class="legend" role="group" aria-label={`Colours by ${color.title}: choose one to see it alone`}>
      {color.names.map((name, index) => (
        <button type="button" key={name} aria-pressed={active === name} onClick={() => pick(name)} title={`Only ${oneLine(name)}`}>
          <Marker index={index} dark={dark} />
          <span>{oneLine(name)}</span> <span class="faint">{count(color.counts[index]!)}</span>
        </button>
      ))}
      {color.others > 0 && (
        <span class="other">
          <Marker index={-1} dark={dark} size={9} />
          others <span class="faint">{count(color.others)}</span>
        </span>
      )}
    </div>
  );
}

function Tip({ unit, x, y, model, color, width }: { unit: number; x: number; y: number; model: LayerModel; color: Coloring; width: number }) {
  const { layer } = model;
  const column = color.kind === "scale" ? model.column(color.key) : undefined;
  const label = layer.units.label[unit];
  const style = { top: `${y}px`, ...(x > width / 2 ? { right: `${width - x + 14}px` } : { left: `${x + 14}px` }) };
  return (
    <div class="tip" style={style} aria-hidden="true">
      <Icon layer={layer} unit={unit} size={48} />
      <div>
        <b>{label ? oneLine(label) : model.addressText(unit)}</b>
        {label && <span>{model.addressText(unit)}</span>}
        {model.className(unit) && (
          <span class="faint">{oneLine(model.className(unit))} {layer.units.classCount[unit]} of {layer.units.size[unit]}</span>
        )}
        {column && <span class="faint">{color.title} {column.text(unit)}</span>}
      </div>
    </div>
  );
}

/** Hover, click, drag, wheel, and two fingers. */
function usePointer(
  canvas: { current: HTMLCanvasElement | null },
  plot: { current: Plot | null },
  show: (unit: number) => void,
  open: (unit: number) => void,
) {
  const down = useRef(new Map<number, { x: number; y: number }>());
  const moved = useRef(0);
  useEffect(() => {
    const node = canvas.current;
    if (!node) return;
    const wheel = (event: WheelEvent) => {
      event.preventDefault();
      plot.current?.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0022)), event.offsetX, event.offsetY);
    };
    node.addEventListener("wheel", wheel, { passive: false });
    return () => node.removeEventListener("wheel", wheel);
  });
  return {
    onPointerDown: (event: PointerEvent) => {
      canvas.current!.setPointerCapture(event.pointerId);
      if (!down.current.size) moved.current = 0;
      down.current.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    },
    onPointerMove: (event: PointerEvent) => {
      const one = plot.current;
      const before = down.current.get(event.pointerId);
      const now = { x: event.offsetX, y: event.offsetY };
      if (!one) return;
      if (!before) return show(one.hit(now.x, now.y));
      const other = [...down.current].find(([id]) => id !== event.pointerId)?.[1];
      down.current.set(event.pointerId, now);
      moved.current += Math.hypot(now.x - before.x, now.y - before.y);
      if (other) {
        const spread = Math.hypot(now.x - other.x, now.y - other.y) / Math.max(Math.hypot(before.x - other.x, before.y - other.y), 1);
        one.zoom(spread, (now.x + other.x) / 2, (now.y + other.y) / 2);
        one.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
      } else if (moved.current > DRAGGED) {
        one.pan(now.x - before.x, now.y - before.y);
        show(-1);
      }
    },
    onPointerUp: (event: PointerEvent) => {
      const alone = down.current.size === 1;
      down.current.delete(event.pointerId);
      if (!alone || moved.current > DRAGGED) return;
      const unit = plot.current?.hit(event.offsetX, event.offsetY, event.pointerType === "touch" ? 24 : 14) ?? -1;
      if (unit >= 0) open(unit);
    },
    onPointerCancel: (event: PointerEvent) => void down.current.delete(event.pointerId),
    onPointerLeave: (event: PointerEvent) => !down.current.has(event.pointerId) && show(-1),
  };
}
