// Okabe and Ito's colours for the colour-blind, as on pure's figures, and viridis; shapes say the same once more.

export const PALETTE = [
  ...["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"],
  ...["#882255", "#332288", "#D4C61C", "#5C3A1E"],
];
const PALETTE_ON_DARK = [
  ...["#3D9BD6", "#E8743B", "#1FB58A", "#D993B8", "#E9AE2B", "#7CC6F0"],
  ...["#C7658F", "#8F86D9", "#E4DB5A", "#B98E66"],
];
export const OTHERS = "#8C8C8C";

export const SHAPES = ["circle", "square", "triangle", "diamond", "cross", "wedge", "star"] as const;
export type Shape = (typeof SHAPES)[number];

export function category(index: number, dark: boolean): string {
  if (index < 0) return OTHERS;
  const colors = dark ? PALETTE_ON_DARK : PALETTE;
  return colors[index % colors.length]!;
}

export function shape(index: number): Shape {
  return index < 0 ? "circle" : SHAPES[index % SHAPES.length]!;
}

// every eighth of viridis (matplotlib, CC0)
const VIRIDIS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];
// Its ends that would vanish on the page's ground are left out.
const RANGE = { light: [0, 0.92], dark: [0.14, 1] } as const;

function channels(color: string): number[] {
  return [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
}

export function viridis(share: number, dark: boolean): string {
  const [low, high] = dark ? RANGE.dark : RANGE.light;
  const at = (low + Math.min(Math.max(share, 0), 1) * (high - low)) * (VIRIDIS.length - 1);
  const left = Math.min(Math.floor(at), VIRIDIS.length - 2);
  const [a, b] = [channels(VIRIDIS[left]!), channels(VIRIDIS[left + 1]!)];
  return `rgb(${a.map((value, i) => Math.round(value + (b[i]! - value) * (at - left))).join(",")})`;
}

/** The outline of a shape of radius r around a point, for SVG and (as Path2D) for a canvas. */
export function outline(kind: Shape, x: number, y: number, r: number): string {
  const at = (dx: number, dy: number) => `${(x + dx * r).toFixed(2)},${(y + dy * r).toFixed(2)}`;
  const polygon = (...points: [number, number][]) => `M${points.map(([dx, dy]) => at(dx, dy)).join("L")}Z`;
  switch (kind) {
    case "circle":
      return `M${at(-1, 0)}a${r},${r} 0 1 0 ${2 * r},0a${r},${r} 0 1 0 ${-2 * r},0Z`;
    case "square":
      return polygon([-0.88, -0.88], [0.88, -0.88], [0.88, 0.88], [-0.88, 0.88]);
    case "triangle":
      return polygon([0, -1.2], [1.1, 0.8], [-1.1, 0.8]);
    case "wedge":
      return polygon([0, 1.2], [1.1, -0.8], [-1.1, -0.8]);
    case "diamond":
      return polygon([0, -1.3], [1.1, 0], [0, 1.3], [-1.1, 0]);
    case "cross": {
      const a = 0.38;
      return polygon([-a, -1.15], [a, -1.15], [a, -a], [1.15, -a], [1.15, a], [a, a], [a, 1.15], [-a, 1.15], [-a, a], [-1.15, a], [-1.15, -a], [-a, -a]);
    }
    case "star": {
      const points = Array.from({ length: 10 }, (_, i): [number, number] => {
        const [angle, far] = [(i * Math.PI) / 5 - Math.PI / 2, i % 2 ? 0.55 : 1.35];
        return [Math.cos(angle) * far, Math.sin(angle) * far];
      });
      return polygon(...points);
    }
  }
}
