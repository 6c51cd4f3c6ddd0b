// Where we are: kept in the address bar, so that back, forward and reload lead to the same view.
import { useEffect, useState } from "preact/hooks";
import { type Address, DEFAULTS, formatHash, parseHash, type Query, type Route } from "./address";
import { site } from "./site";

export interface Place {
  route: Route;
  query: Query;
}

// A page inside another one (srcdoc) has no address of its own to change.
const bound = location.protocol !== "about:";
const PAUSE = 200; // ms without typing before the address bar follows; browsers refuse more than some 100 changes in 30 s

function fromBar(): Place {
  let hash = bound ? location.hash : "";
  if (/^#\d+(\.[1-9]\d*)?(\?|$)/.test(hash) && site.start) hash = `#${site.start.split("/")[0]}/${hash.slice(1)}`; // as the table writes it
  return parseHash(hash.length > 1 ? hash : `#${site.start || ""}`);
}

let place = fromBar();
let timer = 0;
const listeners = new Set<(place: Place) => void>();

function tell(next: Place): void {
  place = next;
  listeners.forEach((listener) => listener(place));
}

function write(replace: boolean): void {
  window.clearTimeout(timer);
  timer = 0;
  if (!bound) return;
  const hash = formatHash(place.route, place.query);
  if (hash === location.hash) return;
  if (replace) history.replaceState(null, "", hash);
  else history.pushState(null, "", hash);
}

function followBar(): void {
  window.clearTimeout(timer);
  timer = 0;
  tell(fromBar());
}
window.addEventListener("popstate", followBar);
window.addEventListener("hashchange", followBar);

export function here(): Place {
  return place;
}

/** Settings that mean the same in each layer stay; filters are of the layer that they were set in. */
function queryOf(route: Route): Query {
  const { query } = place;
  if (route.kind === "layer" && place.route.kind === "layer" && route.layer === place.route.layer) return query;
  return { ...DEFAULTS, images: query.images, color: ["class", "label", "k"].includes(query.color) ? query.color : "" };
}

export function go(route: Route, replace = false): void {
  if (timer) write(true);
  tell({ route, query: queryOf(route) });
  write(replace);
}

export function goTo(hash: string): void {
  if (timer) write(true);
  tell(parseHash(hash));
  write(false);
}

export function change(patch: Partial<Query>): void {
  tell({ route: place.route, query: { ...place.query, ...patch } });
  window.clearTimeout(timer);
  timer = window.setTimeout(() => write(true), PAUSE);
}

export function hrefOf(route: Route): string {
  return formatHash(route, queryOf(route));
}

/** A pane shows another unit; the one beside it stays. */
export function withPane(address: Address, side = 0): Route {
  const panes = place.route.kind === "layer" ? place.route.panes : [];
  if (panes.length < 2) return { kind: "layer", layer: address.layer, panes: [address] };
  const both = panes.map((pane, at) => (at === side ? address : pane));
  return { kind: "layer", layer: both[0]!.layer, panes: both };
}

export function usePlace(): Place {
  const [current, setCurrent] = useState(place);
  useEffect(() => {
    listeners.add(setCurrent);
    setCurrent(place);
    return () => void listeners.delete(setCurrent);
  }, []);
  return current;
}

/** Links inside the page go through here, so that they work inside a notebook too. */
document.addEventListener("click", (event) => {
  const link = (event.target as Element).closest?.("a");
  const hash = link?.getAttribute("href");
  if (!hash?.startsWith("#") || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  if (link!.dataset.skip) document.getElementById(link!.dataset.skip)?.focus();
  else goTo(hash);
});

export function link(): string {
  if (timer) write(true);
  return bound ? location.href.replace(/#.*$/, "") + formatHash(place.route, place.query) : formatHash(place.route, place.query);
}
