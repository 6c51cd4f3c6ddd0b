// The map on its canvas: what is drawn, where the pointer is, what lies in which direction.
import { category, OTHERS, outline, SHAPES, viridis, type Shape } from "./colors";
import { files, imageUrl, load } from "./load";
import { type LayerModel, NO_LABEL } from "./model";
import { layerEntry } from "./site";
import { parts, Picture, type Stamp } from "./stamps";
import type { MapOfUnits } from "./types";
import { number, oneLine } from "./words";

export interface Coloring {
  key: string;
  title: string;
  kind: "category" | "scale";
  names: string[]; // of the categories, the commonest first
  counts: number[];
  others: number; // units in no named category
  of: (unit: number) => number; // category (-1: others) or share of the scale 0…1 (NaN: unknown)
  low: number;
  high: number;
}

const NAMED = 7; // categories with a colour and a shape of their own

function categories(key: string, title: string, name: (unit: number) => string, size: number): Coloring {
  const counts = new Map<string, number>();
  for (let unit = 0; unit < size; unit++) if (name(unit)) counts.set(name(unit), (counts.get(name(unit)) ?? 0) + 1);
  const named = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, NAMED);
  const index = new Map(named.map(([text], at) => [text, at]));
  return {
    ...{ key, title, kind: "category", low: 0, high: 0 },
    names: named.map(([text]) => text),
    counts: named.map(([, units]) => units),
    others: size - named.reduce((sum, [, units]) => sum + units, 0),
    of: (unit) => index.get(name(unit)) ?? -1,
  };
}

function scale(key: string, title: string, values: Float64Array): Coloring {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values)
    if (!Number.isNaN(value)) [low, high] = [Math.min(low, value), Math.max(high, value)];
  const range = high > low ? high - low : 1;
  return {
    ...{ key, title, kind: "scale", names: [], counts: [], others: 0, low, high },
    of: (unit) => (values[unit]! - low) / range,
  };
}

export function colorings(model: LayerModel): { key: string; title: string }[] {
  return [
    ...(model.classes.length ? [{ key: "class", title: "top class" }] : []),
    ...(model.labelled ? [{ key: "label", title: "label" }] : []),
    ...model.columns
      .filter(({ key, values }) => values && key !== "address")
      .map(({ key, title }) => ({ key, title: title.replaceAll("\u00ad", "") })),
  ];
}

export function coloring(model: LayerModel, wanted: string): Coloring {
  const all = colorings(model);
  const { key, title } = all.find((one) => one.key === wanted) ?? all[0]!;
  const { units } = model.layer;
  if (key === "class") return categories(key, title, (unit) => model.className(unit), model.size);
  if (key === "label")
    return categories(key, title, (unit) => (units.label[unit] === NO_LABEL ? "" : units.label[unit]!), model.size);
  return scale(key, title, model.column(key)!.values!);
}

export interface View {
  scale: number; // 1: all of the map fits
  x: number; // centre, in shares of the map
  y: number;
}

export const WHOLE: View = { scale: 1, x: 0.5, y: 0.5 };
const LARGEST = 200;
const MARGIN = 18; // px
const STEPS = 24; // colours of a scale
const ICON = 30; // px
const ICON_ROOM = 70 * 70; // px² that an icon needs for icons to replace points
const LABEL_CELL = [104, 40] as const; // px
const CROWD = 3000; // units that lie on each other
const GROUND = { light: "#ffffff", dark: "#14171a" };
const PALE = { light: "#c3c8cd", dark: "#4a525b" };
const STRETCH = 1.6; // a map is drawn at most so much wider than high, or higher than wide

export class Plot {
  readonly canvas: HTMLCanvasElement;
  view: View = { ...WHOLE };
  width = 0;
  height = 0;
  private ratio = 1; // dots for each CSS pixel
  dark = false;
  hovered = -1;
  model!: LayerModel;
  map!: MapOfUnits;
  color!: Coloring;
  selected: Uint8Array = new Uint8Array();
  marked: number[] = []; // units of the panes
  private frame = 0;
  private readonly picture = new Picture();
  private readonly sheets = new Map<number, HTMLImageElement | null>();

  constructor(
    canvas: HTMLCanvasElement,
    private readonly over: HTMLCanvasElement, // rings around marks, which change often
  ) {
    this.canvas = canvas;
  }

  /** Takes over what is to be shown, and draws again what that changes. */
  show(next: Pick<Plot, "model" | "map" | "color" | "dark" | "selected" | "marked" | "hovered">): void {
    const { model, map, color, dark, selected } = next;
    const same = model === this.model && map === this.map && color === this.color && dark === this.dark && selected === this.selected;
    Object.assign(this, next);
    if (same) this.drawRings();
    else this.redraw();
  }

  resize(width: number, height: number): void {
    if (width === this.width && height === this.height) return;
    [this.width, this.height] = [width, height];
    this.ratio = window.devicePixelRatio || 1;
    this.canvas.width = this.over.width = Math.round(width * this.ratio);
    this.canvas.height = this.over.height = Math.round(height * this.ratio);
    this.draw();
  }

  redraw(): void {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  forget(): void {
    this.sheets.clear();
    cancelAnimationFrame(this.frame);
    this.frame = 0;
  }

  private extent(): [number, number] {
    const [w, h] = [Math.max(this.width - 2 * MARGIN, 1), Math.max(this.height - 2 * MARGIN, 1)];
    return [Math.min(w, h * STRETCH) * this.view.scale, Math.min(h, w * STRETCH) * this.view.scale];
  }

  at(unit: number): [number, number] | null {
    const [x, y] = [this.map.x[unit], this.map.y[unit]];
    if (x === null || x === undefined || y === null || y === undefined) return null;
    const [w, h] = this.extent();
    return [this.width / 2 + (x - this.view.x) * w, this.height / 2 - (y - this.view.y) * h];
  }

  pan(dx: number, dy: number): void {
    const [w, h] = this.extent();
    this.look({ ...this.view, x: this.view.x - dx / w, y: this.view.y + dy / h });
  }

  zoom(factor: number, px = this.width / 2, py = this.height / 2): void {
    const { scale } = this.view;
    const next = Math.min(Math.max(scale * factor, 1), LARGEST);
    const [w, h] = this.extent();
    const [fx, fy] = [(px - this.width / 2) / w, -(py - this.height / 2) / h];
    const still = 1 - scale / next;
    this.look({ scale: next, x: this.view.x + fx * still, y: this.view.y + fy * still });
  }

  look({ scale, x, y }: View): void {
    const slack = 0.5 - 0.5 / scale;
    const clamp = (value: number) => Math.min(Math.max(value, 0.5 - slack), 0.5 + slack);
    this.view = { scale, x: clamp(x), y: clamp(y) };
    this.redraw();
  }

  reveal(unit: number): void {
    const place = this.at(unit);
    if (!place) return;
    const [x, y] = place;
    if (x > MARGIN && y > MARGIN && x < this.width - MARGIN && y < this.height - MARGIN) return;
    this.look({ ...this.view, x: this.map.x[unit]!, y: this.map.y[unit]! });
  }

  visible(): number[] {
    const found: number[] = [];
    for (let unit = 0; unit < this.model.size; unit++) {
      const place = this.at(unit);
      if (place && place[0] > -ICON && place[1] > -ICON && place[0] < this.width + ICON && place[1] < this.height + ICON)
        found.push(unit);
    }
    return found;
  }

  hit(x: number, y: number, reach = 14): number {
    let [best, far] = [-1, reach * reach];
    for (let unit = 0; unit < this.model.size; unit++) {
      if (!this.selected[unit]) continue;
      const place = this.at(unit);
      if (!place) continue;
      const distance = (place[0] - x) ** 2 + (place[1] - y) ** 2;
      if (distance < far) [best, far] = [unit, distance];
    }
    return best;
  }

  /** The nearest unit in a direction: what lies far off it counts as further away. */
  towards(from: number, dx: number, dy: number): number {
    const origin = from >= 0 ? this.at(from) : ([this.width / 2, this.height / 2] as [number, number]);
    if (!origin) return from;
    let [best, least] = [from, Infinity];
    for (let unit = 0; unit < this.model.size; unit++) {
      const place = unit === from || !this.selected[unit] ? null : this.at(unit);
      if (!place) continue;
      const [x, y] = [place[0] - origin[0], place[1] - origin[1]];
      const along = x * dx + y * dy;
      const across = Math.abs(x * dy - y * dx);
      if (from >= 0 && (along <= 0.01 || across > 2 * along)) continue;
      const cost = from >= 0 ? along + 2 * across : Math.hypot(x, y);
      if (cost < least) [best, least] = [unit, cost];
    }
    return best;
  }

  colorOf(unit: number): string {
    const value = this.color.of(unit);
    if (this.color.kind === "category") return category(value, this.dark);
    return Number.isNaN(value) ? OTHERS : viridis(Math.round(value * STEPS) / STEPS, this.dark);
  }

  shapeOf(unit: number): Shape {
    if (this.color.kind === "scale") return "circle";
    const value = this.color.of(unit);
    return value < 0 ? "circle" : SHAPES[value % SHAPES.length]!;
  }

  radius(shown: number): number {
    return Math.min(Math.max(1.9, 66 / Math.sqrt(shown + 60)), 5.5) * Math.min(1 + Math.log2(this.view.scale) * 0.14, 1.6);
  }

  showsIcons(visible: number): boolean {
    return this.model.layer.icons !== null && visible * ICON_ROOM < this.width * this.height;
  }

  private draw(): void {
    this.frame = 0;
    const start = performance.now();
    const context = this.canvas.getContext("2d");
    if (!context || !this.model || !this.width) return;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    const visible = this.visible();
    const chosen = visible.filter((unit) => this.selected[unit]);
    this.drawPoints(context, visible, chosen);
    if (this.showsIcons(chosen.length)) this.drawIcons(context, chosen);
    this.drawLabels(context, chosen);
    performance.measure("pure-atlas map", { start });
    this.drawRings();
  }

  private drawRings(): void {
    const context = this.over.getContext("2d");
    if (!context || !this.map) return;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    for (const unit of this.marked) this.ring(context, unit, 2.4);
    if (this.hovered >= 0) this.ring(context, this.hovered, 1.6);
  }

  /** The marks; what the filters leave out stays as a ground, so that one sees where the rest lies. */
  private drawPoints(context: CanvasRenderingContext2D, visible: number[], chosen: number[]): void {
    const { picture, ratio } = this;
    picture.clear(this.canvas.width, this.canvas.height, this.dark ? GROUND.dark : GROUND.light);
    const pale = parts(this.dark ? PALE.dark : PALE.light);
    const dot = picture.stamp("square", 1.1 * ratio);
    for (const unit of visible) {
      if (this.selected[unit]) continue;
      const [x, y] = this.at(unit)!;
      picture.put(x * ratio, y * ratio, dot, pale, 1);
    }
    const r = this.radius(chosen.length) * ratio;
    const opacity = chosen.length > CROWD ? 0.8 : 0.92;
    const looks = new Map<number, { stamp: Stamp; color: [number, number, number] }>();
    const put = (unit: number, of: number) => {
      let look = looks.get(of);
      if (!look) {
        look = { stamp: picture.stamp(this.shapeOf(unit), of < 0 ? r * 0.75 : r), color: parts(this.colorOf(unit)) };
        looks.set(of, look);
      }
      const [x, y] = this.at(unit)!;
      picture.put(x * ratio, y * ratio, look.stamp, look.color, opacity);
    };
    const scaled = this.color.kind === "scale";
    const above: [number, number][] = []; // what has a colour of its own lies on the others
    for (const unit of this.showsIcons(chosen.length) ? [] : chosen) {
      const value = this.color.of(unit);
      const of = Number.isNaN(value) ? -1 : scaled ? Math.round(value * STEPS) : value;
      if (of < 0) put(unit, of);
      else above.push([unit, of]);
    }
    for (const [unit, of] of above) put(unit, of);
    picture.show(context);
  }

  private drawIcons(context: CanvasRenderingContext2D, units: number[]): void {
    const icons = this.model.layer.icons!;
    for (const unit of units) {
      const [x, y] = this.at(unit)!;
      const sheet = this.sheet(Math.floor(unit / icons.perSheet));
      const tile = unit % icons.perSheet;
      context.fillStyle = this.colorOf(unit);
      context.fillRect(x - ICON / 2 - 2, y - ICON / 2 - 2, ICON + 4, ICON + 4);
      if (sheet) {
        const [left, top] = [(tile % icons.columns) * icons.size, Math.floor(tile / icons.columns) * icons.size];
        context.drawImage(sheet, left, top, icons.size, icons.size, x - ICON / 2, y - ICON / 2, ICON, ICON);
      }
    }
  }

  private sheet(index: number): HTMLImageElement | null {
    const known = this.sheets.get(index);
    if (known !== undefined) return known;
    this.sheets.set(index, null);
    const { name } = this.model.layer;
    const [key, file] = files.icons(name, layerEntry(name)!.slug, index);
    load<{ src: string }>(key, file).then(
      ({ src }) => {
        const image = new Image();
        image.onload = () => {
          this.sheets.set(index, image);
          this.redraw();
        };
        image.src = imageUrl(key, src);
      },
      () => undefined, // the points stay
    );
    return null;
  }

  /** One label in each stretch of the map: the commonest among its units, where these lie. */
  labels(units: number[]): { text: string; x: number; y: number }[] {
    const cells = new Map<string, Map<string, [number, number, number]>>();
    const { label } = this.model.layer.units;
    for (const unit of units) {
      const text = this.model.labelled ? (label[unit] === NO_LABEL ? "" : label[unit]!) : this.model.className(unit);
      if (!text) continue;
      const [x, y] = this.at(unit)!;
      const key = `${Math.floor(x / LABEL_CELL[0])},${Math.floor(y / LABEL_CELL[1])}`;
      const cell = cells.get(key) ?? new Map<string, [number, number, number]>();
      cells.set(key, cell);
      const [sum, sx, sy] = cell.get(text) ?? [0, 0, 0];
      cell.set(text, [sum + 1, sx + x, sy + y]);
    }
    const least = units.length > 60 ? 3 : 1;
    const placed: { text: string; x: number; y: number; w: number }[] = [];
    const best = [...cells.values()].map((cell) => [...cell].sort((a, b) => b[1][0] - a[1][0])[0]!);
    for (const [text, [sum, sx, sy]] of best.sort((a, b) => b[1][0] - a[1][0])) {
      const [x, y] = [sx / sum, sy / sum - (units.length <= 60 ? 12 : 0)];
      const short = oneLine(text.length > 22 ? `${text.slice(0, 21)}…` : text);
      const w = short.length * 6 + 8;
      const near = placed.some((one) => (Math.abs(one.x - x) < (one.w + w) / 2 && Math.abs(one.y - y) < 15) || (one.text === short && Math.hypot(one.x - x, one.y - y) < 150));
      if (sum >= least && !near && x > w / 2 && x < this.width - w / 2 && y > 10) placed.push({ text: short, x, y, w });
    }
    return placed;
  }

  private drawLabels(context: CanvasRenderingContext2D, units: number[]): void {
    if (this.width < 200) return;
    const icons = this.showsIcons(units.length);
    context.font = "600 11px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 3.5;
    for (const { text, x, y } of this.labels(units)) {
      const top = icons ? y + ICON / 2 + 22 : y;
      context.strokeStyle = this.dark ? "rgba(20,23,26,.85)" : "rgba(255,255,255,.88)";
      context.strokeText(text, x, top);
      context.fillStyle = this.dark ? "#eef1f4" : "#14171a";
      context.fillText(text, x, top);
    }
  }

  private ring(context: CanvasRenderingContext2D, unit: number, width: number): void {
    const place = this.at(unit);
    if (!place) return;
    context.beginPath();
    context.arc(place[0], place[1], 9, 0, 2 * Math.PI);
    context.lineWidth = width + 2;
    context.strokeStyle = this.dark ? "#14171a" : "#ffffff";
    context.stroke();
    context.lineWidth = width;
    context.strokeStyle = this.dark ? "#ffffff" : "#14171a";
    context.stroke();
  }

  /** What is on screen, as SVG. */
  svg(title: string, foot: string): string {
    const escape = (text: string) => oneLine(text).replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
    const visible = this.visible();
    const chosen = visible.filter((unit) => this.selected[unit]);
    const r = this.radius(chosen.length);
    const [head, legend] = [26, 44];
    const height = head + this.height + legend;
    const points = (units: number[], draw: (unit: number, x: number, y: number) => string) =>
      units.map((unit) => draw(unit, this.at(unit)![0], this.at(unit)![1])).join("");
    const pale = points(visible.filter((unit) => !this.selected[unit]), (_, x, y) => `<path d="${outline("circle", x, y, 1.1)}"/>`);
    const drawn = points(chosen, (unit, x, y) => `<path d="${outline(this.shapeOf(unit), x, y, r)}" fill="${this.colorOf(unit)}"/>`);
    const labels = this.labels(chosen).map(({ text, x, y }) => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" dy=".35em">${escape(text)}</text>`).join("");
    const ground = this.dark ? GROUND.dark : GROUND.light;
    const ink = this.dark ? "#eef1f4" : "#14171a";
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${this.width}" height="${height}" viewBox="0 0 ${this.width} ${height}" font-family="Helvetica, Arial, sans-serif">
<rect width="100%" height="100%" fill="${ground}"/>
<text x="12" y="18" font-size="13" font-weight="600" fill="${ink}">${escape(title)}</text>
<svg y="${head}" width="${this.width}" height="${this.height}" viewBox="0 0 ${this.width} ${this.height}">
<g fill="${this.dark ? PALE.dark : PALE.light}">${pale}</g><g fill-opacity=".9">${drawn}</g>
<g font-size="11" font-weight="600" text-anchor="middle" fill="${ink}" stroke="${ground}" stroke-width="3.5" stroke-linejoin="round" paint-order="stroke">${labels}</g>
</svg>
<g font-size="11" fill="${ink}">${this.svgLegend(head + this.height + 14, escape)}</g>
<text x="12" y="${height - 8}" font-size="9" fill="${OTHERS}">${escape(foot)}</text>
</svg>`;
  }

  private svgLegend(y: number, escape: (text: string) => string): string {
    if (this.color.kind === "scale") {
      const steps = Array.from({ length: STEPS }, (_, i) => `<rect x="${12 + i * 6}" y="${y - 8}" width="6.5" height="9" fill="${viridis(i / (STEPS - 1), this.dark)}"/>`);
      return `${steps.join("")}<text x="${20 + STEPS * 6}" y="${y}">${escape(`${this.color.title}: ${number(this.color.low)} to ${number(this.color.high)}`)}</text>`;
    }
    let x = 12;
    const entries = [...this.color.names.map((name, index) => ({ name, index })), { name: "others", index: -1 }];
    return entries
      .map(({ name, index }) => {
        const from = x;
        x += 26 + name.length * 6.2;
        return `<path d="${outline(index < 0 ? "circle" : SHAPES[index]!, from + 5, y - 4, 4)}" fill="${category(index, this.dark)}"/><text x="${from + 13}" y="${y}">${escape(name)}</text>`;
      })
      .join("");
  }
}
