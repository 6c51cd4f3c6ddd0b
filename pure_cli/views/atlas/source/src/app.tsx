import { useEffect, useState } from "preact/hooks";
import { addressText, nearest, type Route } from "./address";
import { AuditView } from "./audit";
import { About, Help } from "./dialogs";
import { useKeys } from "./keys";
import { LayerView } from "./layer";
import { go, hrefOf, usePlace } from "./route";
import { layerEntry, site } from "./site";
import { Button, LiveRegion, useTheme } from "./ui";
import { count, oneLine } from "./words";

const TABS = 5; // more layers than so are chosen from a list

export function App() {
  const { route, query } = usePlace();
  const [dark, , setTheme] = useTheme();
  const [dialog, setDialog] = useState<"help" | "about" | null>(null);
  useKeys({ "?": () => setDialog("help") });
  useEffect(() => {
    document.title = `${titleOf(route)} · ${site.model} · pure atlas`;
  }, [route]);
  const known = route.kind === "layer" && layerEntry(route.layer);
  return (
    <>
      <a class="skip" href="#main" data-skip={route.kind === "layer" ? (route.panes.length ? "pane-0" : "table") : "main"}>Skip to the content</a>
      <header class="top">
        <a class="brand" href={hrefOf({ kind: "layer", layer: site.layers[0]?.name ?? "", panes: [] })} title={`${site.model} on ${site.data}`}>
          <b>pure atlas</b> <span>{oneLine(site.model)}</span> <span class="faint">{oneLine(site.data)}</span>
        </a>
        <Layers route={route} />
        <span class="space" />
        <Button glyph={dark ? "sun" : "moon"} title={dark ? "Light colours" : "Dark colours"} onClick={() => setTheme(dark ? "light" : "dark")} />
        <Button glyph="info" title="About this atlas" onClick={() => setDialog("about")} />
        <Button glyph="help" title="Keys" keys="?" onClick={() => setDialog("help")} />
      </header>
      <main id="main" tabIndex={-1}>
        {known && <LayerView layer={known.name} panes={route.panes} query={query} dark={dark} />}
        {route.kind === "audit" && <AuditView name={route.class} />}
        {!known && route.kind !== "audit" && <NotFound route={route} />}
      </main>
      <LiveRegion />
      {dialog === "help" && <Help onClose={() => setDialog(null)} />}
      {dialog === "about" && <About onClose={() => setDialog(null)} />}
    </>
  );
}

function titleOf(route: Route): string {
  if (route.kind === "unknown") return "not found";
  if (route.kind === "audit") return route.class === null ? "audit" : `audit of ${oneLine(route.class)}`;
  return oneLine(route.panes.length ? route.panes.map(addressText).join(" and ") : route.layer);
}

function Layers({ route }: { route: Route }) {
  const here = route.kind === "layer" ? route.layer : "";
  const to = (layer: string): Route => ({ kind: "layer", layer, panes: [] });
  const audit = site.audits.length > 0 && (
    <a href={hrefOf({ kind: "audit", class: null })} aria-current={route.kind === "audit" ? "page" : undefined}>audit</a>
  );
  if (site.layers.length > TABS)
    return (
      <nav class="tabs" aria-label="Layers">
        <select aria-label="Layer" value={here} onChange={(event) => go(to(event.currentTarget.value))}>
          {!here && <option value="">choose a layer</option>}
          {site.layers.map(({ name, virtual }) => <option key={name} value={name}>{oneLine(name)} ({count(virtual)})</option>)}
        </select>
        {audit}
      </nav>
    );
  return (
    <nav class="tabs" aria-label="Layers">
      {site.layers.map(({ name, neurons, virtual }) => (
        <a key={name} href={hrefOf(to(name))} aria-current={name === here ? "page" : undefined} title={`${count(neurons, "neuron")}, ${count(virtual, "virtual neuron")}`}>{oneLine(name)}</a>
      ))}
      {audit}
    </nav>
  );
}

function NotFound({ route }: { route: Route }) {
  const text = route.kind === "layer" ? route.layer : route.kind === "unknown" ? route.text : "";
  if (!site.layers.length) return <p class="empty">This atlas holds no layer. <code>pure cluster</code> finds virtual neurons; then build it again with <code>pure atlas</code>.</p>;
  return (
    <div class="problem" role="alert">
      <p>This atlas has nothing called “{oneLine(text)}”. The nearest:</p>
      <ul>
        {nearest(text.split("/")[0]!, site.layers.map(({ name }) => name)).map((name) => (
          <li key={name}><a href={hrefOf({ kind: "layer", layer: name, panes: [] })}>{oneLine(name)}</a></li>
        ))}
      </ul>
    </div>
  );
}
