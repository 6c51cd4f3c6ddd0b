// How often a neuron is active how strongly, and whose these images are.
import { category, OTHERS } from "./colors";
import type { Inks } from "./circuit";
import type { Histogram } from "./types";
import { count, number } from "./words";

const WIDTH = 620;
const [LEFT, RIGHT] = [44, 8];
const [COUNTS, SHARES, GAP] = [64, 70, 12]; // px high
export const HISTOGRAM_HEIGHT = COUNTS + SHARES + GAP + 22;

export function HistogramChart({ histogram, dark, inks }: { histogram: Histogram; dark: boolean; inks: Inks }) {
  const { edges, count: counts, shares } = histogram;
  const bars = counts.length;
  const room = (WIDTH - LEFT - RIGHT) / Math.max(bars, 1);
  const most = Math.log10(Math.max(...counts, 1) + 1);
  const x = (bin: number) => LEFT + bin * room;
  const top = COUNTS + GAP;
  const every = Math.max(1, Math.ceil(bars / 7));
  return (
    <svg viewBox={`0 0 ${WIDTH} ${HISTOGRAM_HEIGHT}`} width={WIDTH} height={HISTOGRAM_HEIGHT} font-size="10" role="img" aria-label={`Images by activation, ${bars} ranges, and the virtual neurons' shares of each`}>
      <text x={LEFT - 6} y="9" fill={inks.faint} text-anchor="end">{count(Math.max(...counts, 0))}</text>
      <text x={LEFT - 6} y={COUNTS} fill={inks.faint} text-anchor="end">images</text>
      <text x={LEFT - 6} y={top + 9} fill={inks.faint} text-anchor="end">100 %</text>
      <text x={LEFT - 6} y={top + SHARES} fill={inks.faint} text-anchor="end">shares</text>
      {counts.map((images, bin) => {
        const high = (Math.log10(images + 1) / most) * COUNTS || 0;
        let from = top + SHARES;
        const told = `${number(edges[bin])} to ${number(edges[bin + 1])}: ${count(images, "image")}`;
        return (
          <g key={bin}>
            <title>{told}</title>
            <rect x={x(bin)} y={COUNTS - high} width={Math.max(room - 1, 1)} height={high} fill={inks.faint} fill-opacity=".55" />
            {(shares[bin] ?? []).map((share, part, all) => {
              const height = share * SHARES;
              from -= height;
              const color = part === all.length - 1 ? OTHERS : category(part, dark);
              return <rect key={part} x={x(bin)} y={from} width={Math.max(room - 1, 1)} height={height} fill={color} />;
            })}
          </g>
        );
      })}
      {edges.map((edge, at) =>
        at % every === 0 || at === bars ? (
          <text key={at} x={x(at)} y={HISTOGRAM_HEIGHT - 6} fill={inks.faint} text-anchor={at === bars ? "end" : at ? "middle" : "start"}>{number(edge)}</text>
        ) : null,
      )}
    </svg>
  );
}
