import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { addressText, type Address, type Query } from "./address";
import { Icon, Meter, useSize } from "./ui";
import { type Column, type LayerModel, NO_LABEL } from "./model";
import { change, hrefOf, withPane } from "./route";
import { count, number, oneLine } from "./words";

const ROW = 34; // px
const HEAD = 38; // px
const SPARE = 8; // rows drawn above and below what is seen
const ICON = 26; // px

interface Props {
  model: LayerModel;
  query: Query;
  selected: Int32Array;
  current: number; // the row that j and k move
  marked: number[];
  hovered: number;
  onHover: (unit: number) => void;
  onOpen: (address: Address) => void;
}

export function Table({ model, query, selected, current, marked, hovered, onHover, onOpen }: Props) {
  const box = useRef<HTMLDivElement | null>(null);
  const [attach, { height }] = useSize<HTMLDivElement>();
  const [top, setTop] = useState(0);
  const columns = model.columns;
  const total = columns.reduce((sum, { width }) => sum + width, 40);

  useEffect(() => {
    if (box.current) box.current.scrollTop = 0;
  }, [model, query.q, query.sort, query.class, query.k, query.limits, query.split, query.labelled]);
  const place = useMemo(() => (current < 0 ? -1 : selected.indexOf(current)), [selected, current]);
  useEffect(() => {
    const node = box.current;
    if (!node || place < 0) return;
    const y = place * ROW;
    if (y < node.scrollTop) node.scrollTop = y;
    else if (y + ROW + HEAD > node.scrollTop + node.clientHeight) node.scrollTop = y + ROW + HEAD - node.clientHeight;
  }, [place, height > 0]);

  const first = Math.max(0, Math.floor(top / ROW) - SPARE);
  const last = Math.min(selected.length, Math.ceil((top + (height || 600)) / ROW) + SPARE);
  const rows = Array.from(selected.subarray(first, last));
  const open = (event: MouseEvent, unit: number) => {
    if ((event.target as Element).closest("a") || getSelection()?.toString()) return; // the link itself works as links do
    onOpen(model.address(unit));
  };
  return (
    <div
      class="rows"
      id="table"
      tabIndex={0}
      role="region"
      aria-label="Table of virtual neurons"
      ref={(node) => {
        box.current = node;
        attach(node);
      }}
      onScroll={(event) => setTop(event.currentTarget.scrollTop)}
    >
      <table aria-rowcount={selected.length + 1} style={{ minWidth: `${total}px` }}>
        <caption class="unseen">Virtual neurons of {model.layer.name}</caption>
        <colgroup>
          <col style={{ width: "40px" }} />
          {columns.map(({ key, width }) => <col key={key} style={{ width: key === "label" ? "auto" : `${width}px` }} />)}
        </colgroup>
        <Head columns={columns} sort={query.sort} />
        <tbody onPointerLeave={() => onHover(-1)}>
          {first > 0 && <tr aria-hidden="true" class="spacer"><td colSpan={columns.length + 1} style={{ height: `${first * ROW}px` }} /></tr>}
          {rows.map((unit, at) => (
            <tr
              key={unit}
              aria-rowindex={first + at + 2}
              aria-current={unit === current ? "true" : undefined}
              class={`${marked.includes(unit) ? "marked" : ""} ${unit === hovered ? "hovered" : ""}`}
              onPointerEnter={() => onHover(unit)}
              onClick={(event) => open(event, unit)}
            >
              <td class="picture"><Icon layer={model.layer} unit={unit} size={ICON} /></td>
              {columns.map((column) => <Cell key={column.key} model={model} column={column} unit={unit} />)}
            </tr>
          ))}
          {last < selected.length && <tr aria-hidden="true" class="spacer"><td colSpan={columns.length + 1} style={{ height: `${(selected.length - last) * ROW}px` }} /></tr>}
        </tbody>
      </table>
      {!selected.length && <p class="empty">No virtual neuron is left by these filters.</p>}
    </div>
  );
}

function Head({ columns, sort }: { columns: Column[]; sort: string }) {
  const down = sort.startsWith("-");
  const sorted = (down ? sort.slice(1) : sort) || "address";
  const next = ({ key, descends }: Column) => {
    const [firstWay, otherWay] = descends ? [`-${key}`, key] : [key, `-${key}`];
    const wanted = sort === firstWay || (sort === "" && key === "address") ? otherWay : firstWay;
    change({ sort: wanted === "address" ? "" : wanted });
  };
  return (
    <thead>
      <tr aria-rowindex={1}>
        <th scope="col"><span class="unseen">icon</span></th>
        {columns.map((column) => (
          <th
            key={column.key}
            scope="col"
            class={column.values && column.key !== "address" ? "number" : ""}
            aria-sort={column.key === sorted ? (down ? "descending" : "ascending") : "none"}
          >
            <button type="button" title={column.help} onClick={() => next(column)}>
              {column.title}
              <span class="arrow" aria-hidden="true">{column.key === sorted ? (down ? "▾" : "▴") : ""}</span>
            </button>
          </th>
        ))}
      </tr>
    </thead>
  );
}

function Cell({ model, column, unit }: { model: LayerModel; column: Column; unit: number }) {
  const { units, drives } = model.layer;
  const { key } = column;
  if (key === "address") {
    const address = model.address(unit);
    const short = `${address.neuron}.${address.part! + 1}`;
    return (
      <th scope="row" class="address">
        <a href={hrefOf(withPane(address))} tabIndex={-1} aria-label={addressText(address)}>{short}</a>
      </th>
    );
  }
  if (key === "label") {
    const label = units.label[unit]!;
    const name = model.layer.neurons.name[model.rows[unit]!];
    return (
      <td class={label === NO_LABEL ? "faint" : ""} title={oneLine(label)}>
        {oneLine(label)}{!label && name ? <span class="faint">{oneLine(name)}</span> : null}
      </td>
    );
  }
  if (key === "auprc") {
    const [value, chance] = [units.auprc[unit], units.chance[unit]];
    if (value === null || value === undefined) return <td class="number faint">–</td>;
    return (
      <td class="number score" title={`AUPRC ${number(value)}, by chance ${number(chance)}`}>
        {number(value)}
        <Meter value={value} against={chance ?? null} title="" />
      </td>
    );
  }
  if (key === "class") {
    const name = model.className(unit);
    return (
      <td title={name && `${oneLine(name)}: ${units.classCount[unit]} of ${count(units.size[unit]!)} images`}>
        {oneLine(name)} {name && <span class="faint">{units.classCount[unit]}</span>}
      </td>
    );
  }
  if (key === "drives") {
    const found = drives?.[unit];
    return <td>{oneLine(column.text(unit))} {found && <span class="faint">{number(found[1])}</span>}</td>;
  }
  const text = column.text(unit);
  return <td class={`${column.values ? "number" : ""} ${text === "–" ? "faint" : ""}`}>{oneLine(text)}</td>;
}
