// How often a neuron is active how strongly, and whose these images are.
import { category, OTHERS } from "./colors";
import type { Inks } from "./circuit";
import type { Histogram } from "./types";
import { count, number } from "./words";

const WIDTH = 620;
const [LEFT, RIGHT] = [86, 12];
const [DENSITY, SHARES, GAP] = [64, 70, 12]; // px high
const TICKS = 6;
export const HISTOGRAM_HEIGHT = DENSITY + SHARES + GAP + 22;

/** Ranges that hold equally many images: each is as wide as it is, and as high as images are dense in it. */
export function HistogramChart({ histogram, dark, inks }: { histogram: Histogram; dark: boolean; inks: Inks }) {
  const { count: counts, shares, drawn } = histogram;
  const edges = histogram.edges.map((edge) => edge ?? 0);
  const [low, high] = [edges[0] ?? 0, edges[edges.length - 1] ?? 1];
  const x = (value: number) => LEFT + ((value - low) / (high - low || 1)) * (WIDTH - LEFT - RIGHT);
  const width = (bin: number) => Math.max(x(edges[bin + 1]!) - x(edges[bin]!) - 1, 1);
  const dense = counts.map((images, bin) => images / Math.max(edges[bin + 1]! - edges[bin]!, 1e-9));
  const some = dense.filter((value) => value > 0);
  const [least, most] = [Math.min(...some, Infinity), Math.max(...some, 0)];
  const tall = (value: number) => (value > 0 ? DENSITY * (0.08 + (0.92 * Math.log(value / least)) / (Math.log(most / least) || 1)) : 0);
  const top = DENSITY + GAP;
  return (
    <svg viewBox={`0 0 ${WIDTH} ${HISTOGRAM_HEIGHT}`} width={WIDTH} height={HISTOGRAM_HEIGHT} font-size="10" role="img" aria-label={`How dense images lie over activation, in ${counts.length} ranges, and the virtual neurons' shares of each`}>
      <text x={LEFT - 6} y="9" fill={inks.faint} text-anchor="end">images</text>
      <text x={LEFT - 6} y="21" fill={inks.faint} text-anchor="end">per activation</text>
      <text x={LEFT - 6} y={DENSITY} fill={inks.faint} text-anchor="end">log scale</text>
      <text x={LEFT - 6} y={top + 9} fill={inks.faint} text-anchor="end">100 %</text>
      <text x={LEFT - 6} y={top + SHARES} fill={inks.faint} text-anchor="end">shares</text>
      {counts.map((images, bin) => {
        let from = top + SHARES;
        return (
          <g key={bin}>
            <title>{`${number(edges[bin])} to ${number(edges[bin + 1])}: ${count(images, "image")}, shares of ${count(drawn[bin] ?? 0, "of them", "of them")}`}</title>
            <rect x={x(edges[bin]!)} y={DENSITY - tall(dense[bin]!)} width={width(bin)} height={tall(dense[bin]!)} fill={inks.faint} fill-opacity=".55" />
            {(shares[bin] ?? []).map((share, part, all) => {
              const height = share * SHARES;
              from -= height;
              const color = part === all.length - 1 ? OTHERS : category(part, dark);
              return <rect key={part} x={x(edges[bin]!)} y={from} width={width(bin)} height={height} fill={color} />;
            })}
          </g>
        );
      })}
      {Array.from({ length: TICKS }, (_, at) => low + ((high - low) * at) / (TICKS - 1)).map((value, at) => (
        <text key={at} x={x(value)} y={HISTOGRAM_HEIGHT - 6} fill={inks.faint} text-anchor={at === TICKS - 1 ? "end" : at ? "middle" : "start"}>{number(value)}</text>
      ))}
    </svg>
  );
}

/** On how many images the shares of a range are. */
export function basis({ drawn }: Histogram): string {
  const [few, many] = [Math.min(...drawn), Math.max(...drawn)];
  return few === many ? `${count(few, "image")} of each range` : `${few} to ${count(many, "image")} of each range`;
}
