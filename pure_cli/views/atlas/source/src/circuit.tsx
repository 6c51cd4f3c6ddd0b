// The circuit of a virtual neuron: layers from left to right, as wide as they count.
import { type Address, addressText } from "./address";
import { hrefOf } from "./route";
import { layerEntry } from "./site";
import type { Circuit } from "./types";
import { oneLine, percent } from "./words";

export interface Inks {
  ink: string;
  faint: string;
  ground: string;
  positive: string;
  negative: string;
}

export const ON_PAPER: Inks = { ink: "#14171a", faint: "#5f6973", ground: "#ffffff", positive: "#0072B2", negative: "#D55E00" };
export const ON_SCREEN: Inks = {
  ink: "var(--ink)",
  faint: "var(--faint)",
  ground: "var(--ground)",
  positive: "var(--positive)",
  negative: "var(--negative)",
};

const WIDTH = 620;
const STEP = 30; // from one node to the next
const HEAD = 26;
const EDGE = { thinnest: 0.6, room: 8 };
const NAME = 74; // px beside a node, where no edge runs

export function circuitHeight({ layers, nodes }: Circuit): number {
  return HEAD + STEP * Math.max(2, ...layers.map((layer) => nodes.filter((node) => node.layer === layer).length)) + 8;
}

export function CircuitGraph({ circuit, title, color, inks, to }: { circuit: Circuit; title: string; color: string; inks: Inks; to: ((address: Address) => string) | null }) {
  const { layers, nodes, edges } = circuit;
  const height = circuitHeight(circuit);
  const columnX = (at: number) => 60 + (at * (WIDTH - 150)) / Math.max(layers.length, 1);
  const place = new Map<number, [number, number]>([[-1, [columnX(0), HEAD + (height - HEAD) / 2]]]);
  layers.forEach((layer, at) => {
    const members = nodes.flatMap((node, index) => (node.layer === layer ? [index] : []));
    members.sort((a, b) => nodes[b]!.share - nodes[a]!.share);
    const room = (height - HEAD) / members.length;
    members.forEach((index, row) => place.set(index, [columnX(at + 1), HEAD + room * (row + 0.5)]));
  });
  const most = Math.max(...edges.map(([, , share]) => Math.abs(share)), 1e-9);
  const largest = Math.max(...nodes.map(({ share }) => Math.abs(share)), 1e-9);
  const [x0, y0] = place.get(-1)!;
  return (
    <svg viewBox={`0 0 ${WIDTH} ${height}`} width={WIDTH} height={height} role="group" aria-label={`Circuit of ${title}`} font-size="11">
      {layers.map((layer, at) => (
        <text key={layer} x={columnX(at + 1)} y="12" fill={inks.faint} text-anchor="middle">{oneLine(layer)}</text>
      ))}
      {edges.map(([from, to_, share, sign], at) => {
        const [[ax, ay], [bx, by]] = [place.get(from) ?? [0, 0], place.get(to_) ?? [0, 0]];
        const begin = from < 0 ? ax : ax + NAME;
        const middle = (begin + bx) / 2;
        return (
          <path
            key={at}
            d={`M${begin},${ay}C${middle},${ay} ${middle},${by} ${bx},${by}`}
            fill="none"
            stroke={sign < 0 ? inks.negative : inks.positive}
            stroke-width={EDGE.thinnest + (EDGE.room * Math.abs(share)) / most}
            stroke-opacity={0.25 + (0.4 * Math.abs(share)) / most}
          />
        );
      })}
      <circle cx={x0} cy={y0} r="12" fill={color} stroke={inks.ground} stroke-width="2" />
      <text x={x0} y={y0 + 26} fill={inks.ink} text-anchor="middle" font-weight="600">{title}</text>
      {nodes.map((node, index) => {
        const [x, y] = place.get(index) ?? [0, 0];
        const address: Address = { layer: node.layer, neuron: node.channel, part: null };
        const told = `${addressText(address)}: ${percent(node.share)}${node.shared ? ", shared with a sibling" : ""}`;
        const r = 4 + 6 * Math.sqrt(Math.abs(node.share) / largest);
        const drawn = (
          <>
            <title>{told}</title>
            <rect x={x - 12} y={y - 12} width="86" height="24" fill="none" pointer-events="all" />
            <circle cx={x} cy={y} r={r} fill={node.shared ? inks.ground : color} stroke={color} stroke-width="2" />
            <text x={x + r + 5} y={y + 4} fill={inks.ink}>
              {node.channel}
              <tspan fill={inks.faint} dx="5">{percent(node.share)}</tspan>
            </text>
          </>
        );
        return to && layerEntry(node.layer) ? <a key={index} href={to(address)} aria-label={told}>{drawn}</a> : <g key={index}>{drawn}</g>;
      })}
    </svg>
  );
}

export function explained(circuit: Circuit): string {
  if (!circuit.explained) return "";
  const [left, random, nothing] = circuit.explained;
  const drawn = circuit.nodes.length;
  const channels = circuit.kept === 1 ? "channel leaves" : `channels${circuit.kept > drawn ? `, of which the first ${drawn} are drawn,` : ""} leave`;
  const others = [random !== null && `as many random ones ${percent(random)}`, nothing !== null && `none ${percent(nothing)}`];
  return `${circuit.kept} ${channels} ${percent(left)} of its activation${others.some(Boolean) ? `; ${others.filter(Boolean).join(", ")}` : ""}.`;
}

export function toNeuron(compose: (address: Address) => Parameters<typeof hrefOf>[0]): (address: Address) => string {
  return (address) => hrefOf(compose(address));
}
