// Thousands of marks put into one picture, dot by dot: many times faster than as many outlines on a canvas.
import { outline, type Shape } from "./colors";

export interface Stamp {
  size: number; // dots
  cover: Uint8ClampedArray; // of each dot, how much of it is covered, 0…255
}

const KEPT = 200;

export class Picture {
  private data: ImageData | null = null;
  private readonly stamps = new Map<string, Stamp>();

  /** Ready for marks, all of one colour. */
  clear(width: number, height: number, ground: string): void {
    if (this.data?.width !== width || this.data.height !== height) this.data = new ImageData(width, height);
    const [r, g, b] = parts(ground);
    new Uint32Array(this.data.data.buffer).fill((255 << 24) | (b! << 16) | (g! << 8) | r!); // browsers run on little-endian machines
  }

  show(context: CanvasRenderingContext2D): void {
    if (this.data) context.putImageData(this.data, 0, 0);
  }

  put(x: number, y: number, { size, cover }: Stamp, color: [number, number, number], opacity: number): void {
    const { width, height, data } = this.data!;
    const [left, top] = [Math.round(x - size / 2), Math.round(y - size / 2)];
    for (let row = Math.max(0, -top); row < size && top + row < height; row++) {
      for (let column = Math.max(0, -left); column < size && left + column < width; column++) {
        const share = (cover[row * size + column]! * opacity) / 255;
        if (share === 0) continue;
        const at = 4 * ((top + row) * width + left + column);
        for (let channel = 0; channel < 3; channel++) data[at + channel]! += (color[channel]! - data[at + channel]!) * share;
      }
    }
  }

  /** A mark of a radius (dots, to the next quarter). */
  stamp(shape: Shape, radius: number): Stamp {
    const r = Math.round(4 * radius) / 4;
    const key = `${shape} ${r}`;
    const known = this.stamps.get(key);
    if (known) return known;
    const size = Math.ceil(2 * (1.4 * r + 1));
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = size;
    const context = canvas.getContext("2d", { willReadFrequently: true })!;
    context.fill(new Path2D(outline(shape, size / 2, size / 2, r)));
    const pixels = context.getImageData(0, 0, size, size).data;
    const made = { size, cover: pixels.filter((_, at) => at % 4 === 3) };
    if (this.stamps.size > KEPT) this.stamps.clear();
    this.stamps.set(key, made);
    return made;
  }
}

/** Red, green and blue, 0…255, of "#rrggbb" or "rgb(r,g,b)". */
export function parts(color: string): [number, number, number] {
  const found = color.startsWith("#") ? [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)) : color.match(/\d+/g)!.map(Number);
  return [found[0]!, found[1]!, found[2]!];
}
