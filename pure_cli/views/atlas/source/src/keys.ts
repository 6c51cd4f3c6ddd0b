import { useEffect, useRef } from "preact/hooks";

export type Keys = Record<string, () => unknown>;

/** Single keys for the whole page; not while something is typed, a dialog is open, or a control takes the key itself. */
export function useKeys(keys: Keys): void {
  const latest = useRef(keys);
  latest.current = keys;
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const action = latest.current[event.key];
      const target = event.target as HTMLElement;
      if (!action || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      if (target.matches("textarea, select, input:not([type=checkbox])")) {
        if (event.key === "Escape") target.blur();
        return;
      }
      if (event.key === "Enter" && target.matches("a, button, summary, input, canvas")) return;
      event.preventDefault();
      action();
    };
    document.addEventListener("keydown", listen);
    return () => document.removeEventListener("keydown", listen);
  }, []);
}
