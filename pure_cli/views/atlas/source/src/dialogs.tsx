import { useState } from "preact/hooks";
import { type Address, addressText, parseAddress, sameNeuron } from "./address";
import type { LayerModel } from "./model";
import { DEFAULTS } from "./address";
import { layerEntry, site } from "./site";
import { Button, Copy, Icon, Modal } from "./ui";
import { Facts } from "./neuron";
import { oneLine } from "./words";

const KEYS: [string, string][] = [
  ["/", "search"],
  ["j  k", "next, previous row of the table"],
  ["Enter", "open it"],
  ["n  p", "next, previous neuron"],
  ["m", "what the neuron saw, or whole images"],
  ["c", "compare with another neuron"],
  ["← → ↑ ↓", "on the map: nearest virtual neuron in that direction"],
  ["+  −  0", "on the map: zoom in, out, all of it"],
  ["Esc", "close"],
  ["?", "this list"],
];

export function Help({ onClose }: { onClose: () => void }) {
  return (
    <Modal title="Keys" onClose={onClose}>
      <dl class="keys">
        {KEYS.map(([keys, does]) => (
          <div key={keys}>
            <dt>{keys.split("  ").map((key) => <kbd key={key}>{key}</kbd>)}</dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
      <p class="faint small">A neuron is a channel of the network. Its virtual neurons are groups of its reference images that it responds to for different reasons (PURE).</p>
    </Modal>
  );
}

export function About({ onClose }: { onClose: () => void }) {
  return (
    <Modal title="About this atlas" onClose={onClose}>
      <Facts facts={[...site.about, ["Images", site.images.toLocaleString("en-US")], ["pure", site.pure]]} />
      {site.notes.map((note) => <p key={note} class="note">{oneLine(note)}</p>)}
      <h3>Cite</h3>
      <pre tabIndex={0} aria-label="BibTeX">{site.bibtex}</pre>
      <div class="bar"><Copy text={site.bibtex} title="Copy the citation">BibTeX</Copy></div>
    </Modal>
  );
}

interface CompareProps {
  from: Address;
  model: LayerModel;
  onPick: () => void;
  onChoose: (address: Address) => void;
  onClose: () => void;
}

const FOUND = 8;

export function Compare({ from, model, onPick, onChoose, onClose }: CompareProps) {
  const [text, setText] = useState("");
  const typed = parseAddress(text, from.layer);
  const known = typed && layerEntry(typed.layer) && (typed.layer !== model.layer.name || model.unitOf(typed) >= 0) ? typed : null;
  const found: number[] = [];
  for (const unit of text.trim() ? model.select({ ...DEFAULTS, q: text }) : []) {
    const address = model.address(unit);
    if (!sameNeuron(address, from)) found.push(unit);
    if (found.length === FOUND) break;
  }
  const first = known ?? (found.length ? model.address(found[0]!) : null);
  return (
    <Modal title={`Compare ${oneLine(addressText({ ...from, part: null }))} with`} onClose={onClose}>
      <form
        method="dialog"
        class="compare"
        onSubmit={(event) => {
          event.preventDefault();
          if (first) onChoose(first);
        }}
      >
        <input
          type="search"
          autofocus
          aria-label="Address, label or class"
          placeholder={`an address such as ${oneLine(from.layer)}/14, a label, a class`}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <Button title="Open it beside this one" disabled={!first} onClick={() => first && onChoose(first)}>Open</Button>
      </form>
      <ul class="found">
        {found.map((unit) => (
          <li key={unit}>
            <button type="button" onClick={() => onChoose(model.address(unit))}>
              <Icon layer={model.layer} unit={unit} size={24} />
              <span>{oneLine(model.addressText(unit))}</span>
              <span class="faint">{oneLine(model.layer.units.label[unit]! || model.className(unit))}</span>
            </button>
          </li>
        ))}
      </ul>
      {text.trim() && !first && <p class="faint">Nothing in this atlas is called so.</p>}
      <div class="bar"><Button title="Close this, then choose on the map or in the table" onClick={onPick}>Pick on the map or in the table</Button></div>
    </Modal>
  );
}
