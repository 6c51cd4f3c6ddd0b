// The map as a figure: what is on screen, on white, with its legend and where it comes from.
import { category, OTHERS, outline, SHAPES, viridis } from "./colors";
import { type Coloring, type Plot, STEPS } from "./plot";
import { number, oneLine } from "./words";

const MARGIN = 12; // px
const HEAD = 26; // px, of the title
const [LEGEND, FOOT] = [16, 12]; // px, a line of each
const LETTER = { legend: 6.2, foot: 4.9 }; // px, about, of a letter
const INK = "#14171a";
const PALE = "#c3c8cd";

function escaped(text: string): string {
  return oneLine(text).replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
}

/** Pieces in as many lines as they need. */
function lines<T>(pieces: T[], width: (piece: T) => number, room: number): T[][] {
  const found: T[][] = [[]];
  let used = 0;
  for (const piece of pieces) {
    if (used && used + width(piece) > room) {
      found.push([]);
      used = 0;
    }
    found[found.length - 1]!.push(piece);
    used += width(piece);
  }
  return found;
}

function scale({ title, low, high }: Coloring, y: number): string {
  const steps = Array.from({ length: STEPS }, (_, i) => `<rect x="${MARGIN + i * 6}" y="${y - 8}" width="6.5" height="9" fill="${viridis(i / (STEPS - 1), false)}"/>`);
  return `${steps.join("")}<text x="${MARGIN + 8 + STEPS * 6}" y="${y}">${escaped(`${title}: ${number(low)} to ${number(high)}`)}</text>`;
}

/** The legend from a height on, and how many lines it takes. */
function legend(color: Coloring, y: number, room: number): [string, number] {
  if (color.kind === "scale") return [scale(color, y), 1];
  const entries = [...color.names.map((name, index) => ({ name, index })), { name: "others", index: -1 }];
  const width = ({ name }: { name: string }) => 28 + oneLine(name).length * LETTER.legend;
  const rows = lines(entries, width, room);
  const drawn = rows.flatMap((row, at) => {
    let x = MARGIN;
    return row.map((entry) => {
      const [from, bottom] = [x, y + at * LEGEND];
      x += width(entry);
      const mark = outline(entry.index < 0 ? "circle" : SHAPES[entry.index]!, from + 5, bottom - 4, 4);
      return `<path d="${mark}" fill="${category(entry.index, false)}"/><text x="${from + 14}" y="${bottom}">${escaped(entry.name)}</text>`;
    });
  });
  return [drawn.join(""), rows.length];
}

function marks(plot: Plot): string {
  const visible = plot.visible();
  const chosen = visible.filter((unit) => plot.selected[unit]);
  const r = plot.radius(chosen.length);
  const draw = (units: number[], mark: (unit: number, x: number, y: number) => string) =>
    units.map((unit) => mark(unit, ...plot.at(unit)!)).join("");
  const pale = draw(visible.filter((unit) => !plot.selected[unit]), (_, x, y) => `<path d="${outline("circle", x, y, 1.1)}"/>`);
  const drawn = draw(chosen, (unit, x, y) => `<path d="${outline(plot.shapeOf(unit), x, y, r)}" fill="${plot.colorOf(unit, false)}"/>`);
  const labels = plot.labels(chosen).map(({ text, x, y }) => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" dy=".35em">${escaped(text)}</text>`);
  return `<g fill="${PALE}">${pale}</g><g fill-opacity=".9">${drawn}</g>
<g font-size="11" font-weight="600" text-anchor="middle" fill="${INK}" stroke="#fff" stroke-width="3.5" stroke-linejoin="round" paint-order="stroke">${labels.join("")}</g>`;
}

export function mapSvg(plot: Plot, title: string, foot: string): string {
  const { width } = plot;
  const room = width - 2 * MARGIN;
  const below = HEAD + plot.height + LEGEND;
  const [entries, rows] = legend(plot.color, below, room);
  const told = lines(foot.split(" · "), (piece) => (piece.length + 3) * LETTER.foot, room).map((row) => row.join(" · "));
  const end = below + rows * LEGEND;
  const height = end + told.length * FOOT + 4;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="Helvetica, Arial, sans-serif">
<rect width="100%" height="100%" fill="#fff"/>
<text x="${MARGIN}" y="18" font-size="13" font-weight="600" fill="${INK}">${escaped(title)}</text>
<svg y="${HEAD}" width="${width}" height="${plot.height}" viewBox="0 0 ${width} ${plot.height}">${marks(plot)}</svg>
<g font-size="11" fill="${INK}">${entries}</g>
<g font-size="9" fill="${OTHERS}">${told.map((line, at) => `<text x="${MARGIN}" y="${end + at * FOOT}">${escaped(line)}</text>`).join("")}</g>
</svg>`;
}
