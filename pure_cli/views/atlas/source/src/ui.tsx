// Small parts that several views use.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { files, imageUrl, useChunk } from "./load";
import { category, outline, shape } from "./colors";
import { layerEntry } from "./site";
import type { Layer } from "./types";

// ---- what is told to screen readers

let speaker: HTMLElement | null = null;
let spoken = 0;

export function LiveRegion() {
  return <div class="unseen" role="status" aria-live="polite" ref={(node) => void (speaker = node)} />;
}

export function tell(text: string): void {
  window.clearTimeout(spoken);
  spoken = window.setTimeout(() => speaker && (speaker.textContent = text), 350);
}

// ---- what is kept for the next visit, where the browser keeps anything

export function remembered(key: string): string | null {
  try {
    return localStorage.getItem(`pure-atlas:${key}`);
  } catch {
    return null;
  }
}

export function remember(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(`pure-atlas:${key}`);
    else localStorage.setItem(`pure-atlas:${key}`, value);
  } catch {
    // private windows keep nothing
  }
}

// ---- dark and light

const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
export type Theme = "light" | "dark" | null;

export function useTheme(): [boolean, Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useState<Theme>(() => {
    const kept = remembered("theme");
    return kept === "light" || kept === "dark" ? kept : null;
  });
  const [system, setSystem] = useState(prefersDark.matches);
  useEffect(() => {
    const follow = () => setSystem(prefersDark.matches);
    prefersDark.addEventListener("change", follow);
    return () => prefersDark.removeEventListener("change", follow);
  }, []);
  const [printing, setPrinting] = useState(false); // paper is white
  useEffect(() => {
    const [begin, end] = [() => setPrinting(true), () => setPrinting(false)];
    window.addEventListener("beforeprint", begin);
    window.addEventListener("afterprint", end);
    return () => {
      window.removeEventListener("beforeprint", begin);
      window.removeEventListener("afterprint", end);
    };
  }, []);
  const dark = !printing && (theme ? theme === "dark" : system);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  return [
    dark,
    theme,
    (next) => {
      remember("theme", next);
      setTheme(next);
    },
  ];
}

export function useSize<T extends HTMLElement>(): [(node: T | null) => void, { width: number; height: number }] {
  const [size, setSize] = useState({ width: 0, height: 0 });
  const observer = useRef<ResizeObserver | null>(null);
  const attach = useRef((node: T | null) => {
    observer.current?.disconnect();
    if (!node) return;
    observer.current = new ResizeObserver(() => {
      const next = { width: node.clientWidth, height: node.clientHeight };
      setSize((old) => (old.width === next.width && old.height === next.height ? old : next));
    });
    observer.current.observe(node);
  });
  return [attach.current, size];
}

// ---- glyphs of buttons, 16 × 16

const GLYPHS = {
  close: "M4 4l8 8M12 4l-8 8",
  copy: "M6 6h7v7h-7zM10 6V3H3v7h3",
  link: "M7 9.5a2.5 2.5 0 0 0 3.5 0l2.3-2.3a2.5 2.5 0 0 0-3.5-3.5L8.4 4.6M9 6.5a2.5 2.5 0 0 0-3.5 0L3.2 8.8a2.5 2.5 0 0 0 3.5 3.5l.9-.9",
  down: "M8 2.5v8M4.5 7.5L8 11l3.5-3.5M3 13.5h10",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  fit: "M3 6V3h3M10 3h3v3M13 10v3h-3M6 13H3v-3",
  left: "M10 3L5 8l5 5",
  right: "M6 3l5 5-5 5",
  compare: "M2.5 3.5h4.5v9H2.5zM9 3.5h4.5v9H9z",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6a2.8 2.8 0 1 0 0-5.6M8 1v1.6M8 13.4V15M1 8h1.6M13.4 8H15M3.1 3.1l1.1 1.1M11.8 11.8l1.1 1.1M3.1 12.9l1.1-1.1M11.8 4.2l1.1-1.1",
  moon: "M13 9.6A5.6 5.6 0 0 1 6.4 3a5.6 5.6 0 1 0 6.6 6.6z",
  filter: "M2.5 4h11M4.5 8h7M6.5 12h3",
  help: "M5.8 6.2A2.2 2.2 0 1 1 8 8.4v1.2M8 12v.6",
  info: "M8 7v5M8 4v.6",
  swap: "M2.5 8s2-4 5.5-4 5.5 4 5.5 4-2 4-5.5 4-5.5-4-5.5-4zM8 6.4a1.6 1.6 0 1 0 0 3.2a1.6 1.6 0 1 0 0-3.2",
  back: "M13 8H3.5M7 4L3 8l4 4",
};

export function Glyph({ of }: { of: keyof typeof GLYPHS }) {
  return (
    <svg class="glyph" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={GLYPHS[of]} fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  );
}

interface ButtonProps {
  glyph?: keyof typeof GLYPHS;
  title: string; // also its name, where it shows no text
  onClick: () => void;
  children?: ComponentChildren;
  pressed?: boolean;
  disabled?: boolean;
  class?: string;
  keys?: string;
}

export function Button({ glyph, title, onClick, children, pressed, disabled, keys, class: kind = "" }: ButtonProps) {
  return (
    <button
      type="button"
      class={`button ${children ? "" : "bare"} ${kind}`}
      title={keys ? `${title} (${keys})` : title}
      aria-label={children ? undefined : title}
      aria-pressed={pressed}
      aria-keyshortcuts={keys}
      disabled={disabled}
      onClick={onClick}
    >
      {glyph && <Glyph of={glyph} />}
      {children && <span>{children}</span>}
    </button>
  );
}

// ---- the clipboard

async function put(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(area); // what lies under a dialog cannot be selected
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

export function Copy({ text, title, children, class: kind, glyph = "copy" }: { text: string | (() => string); title: string; children?: ComponentChildren; class?: string; glyph?: "copy" | "link" }) {
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return;
    const timer = window.setTimeout(() => setDone(false), 1300);
    return () => window.clearTimeout(timer);
  }, [done]);
  const copy = () => {
    void put(typeof text === "string" ? text : text()).then(() => setDone(true));
    tell("Copied.");
  };
  return (
    <Button glyph={glyph} title={title} onClick={copy} class={`${kind ?? ""} ${done ? "done" : ""}`}>
      {children ? (done ? "Copied" : children) : undefined}
    </Button>
  );
}

// ---- dialogs

export function Modal({ title, onClose, children, wide }: { title: string; onClose: () => void; children: ComponentChildren; wide?: boolean }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog
      ref={dialog}
      class={wide ? "wide" : ""}
      aria-label={title}
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && dialog.current?.close()}
    >
      <div class="dialog">
        <header>
          <h2>{title}</h2>
          <Button glyph="close" title="Close" onClick={() => dialog.current?.close()} />
        </header>
        {children}
      </div>
    </dialog>
  );
}

/** A button with a list of actions under it. */
export function Menu({ title, children, glyph }: { title: string; glyph: keyof typeof GLYPHS; children: ComponentChildren }) {
  const box = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const close = (event: Event) => {
      if (box.current?.open && !box.current.contains(event.target as Node)) box.current.open = false;
    };
    document.addEventListener("pointerdown", close);
    return () => document.removeEventListener("pointerdown", close);
  }, []);
  return (
    <details
      class="menu"
      ref={box}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || !box.current?.open) return;
        box.current.open = false;
        box.current.querySelector("summary")!.focus();
        event.stopPropagation();
      }}
    >
      <summary class="button">
        <Glyph of={glyph} />
        <span>{title}</span>
      </summary>
      <div class="items" onClick={(event) => (event.target as Element).closest("button") && window.setTimeout(() => box.current && (box.current.open = false), 700)}>
        {children}
      </div>
    </details>
  );
}

// ---- marks and icons of units

export function Marker({ index, dark, size = 12, filled = true }: { index: number; dark: boolean; size?: number; filled?: boolean }) {
  const color = category(index, dark);
  return (
    <svg class="marker" viewBox="-8 -8 16 16" width={size} height={size} aria-hidden="true">
      <path d={outline(shape(index), 0, 0, 5)} fill={filled ? color : "none"} stroke={color} stroke-width={filled ? 0 : 1.6} />
    </svg>
  );
}

export function useIconSheet(layer: Layer | null, sheet: number): string | null {
  const slug = layer ? layerEntry(layer.name)?.slug : undefined;
  const [key, file] = layer?.icons && slug !== undefined && sheet >= 0 ? files.icons(layer.name, slug, sheet) : [null, ""];
  const { content } = useChunk<{ src: string }>(key, file);
  return key && content ? imageUrl(key, content.src) : null;
}

/** The icon of a unit: an image that it responds to, cut from a sheet of many. */
export function Icon({ layer, unit, size }: { layer: Layer | null; unit: number; size: number }) {
  const icons = layer?.icons ?? null;
  const url = useIconSheet(icons && unit >= 0 ? layer : null, icons ? Math.floor(unit / icons.perSheet) : -1);
  const style: Record<string, string> = { width: `${size}px`, height: `${size}px` };
  if (url && icons) {
    const tile = unit % icons.perSheet;
    const rows = Math.ceil(Math.min(icons.perSheet, layer!.units.neuron.length - (unit - tile)) / icons.columns);
    style.backgroundImage = `url("${url}")`;
    style.backgroundPosition = `${-(tile % icons.columns) * size}px ${-Math.floor(tile / icons.columns) * size}px`;
    style.backgroundSize = `${icons.columns * size}px ${rows * size}px`;
  }
  return <span class="icon" style={style} aria-hidden="true" />;
}

export function Meter({ value, against, title }: { value: number; against: number | null; title: string }) {
  return (
    <span class="meter" title={title} aria-hidden="true">
      <span style={{ width: `${Math.max(0, Math.min(value, 1)) * 100}%` }} />
      {against !== null && <i style={{ left: `${Math.max(0, Math.min(against, 1)) * 100}%` }} />}
    </span>
  );
}
