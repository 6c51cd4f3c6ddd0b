// The card of a class: what drives it, what of that fires on other classes, which images are odd.
import { useEffect } from "preact/hooks";
import { type Address, nearest, parseAddress } from "./address";
import { files, useChunk } from "./load";
import { useModel } from "./models";
import { hrefOf, link } from "./route";
import { provenance, site } from "./site";
import type { Audit, Driver, Together } from "./types";
import { Button, Copy, Icon, tell, Told } from "./ui";
import { accuracy, count, number, oneLine, percent } from "./words";

export function AuditView({ name }: { name: string | null }) {
  const entry = site.audits.find((one) => one.class === name);
  const [key, file] = entry ? files.audit(entry.class, entry.slug) : [null, ""];
  const { content, error } = useChunk<Audit>(key, file);
  useEffect(() => {
    if (content) tell(`Audit of ${content.class} opened.`);
  }, [content]);
  return (
    <div class="audit" id="audit" tabIndex={-1}>
      <nav class="classes-list" aria-label="Audited classes">
        {site.audits.map(({ class: one }) => (
          <a key={one} href={hrefOf({ kind: "audit", class: one })} aria-current={one === name ? "page" : undefined}>{oneLine(one)}</a>
        ))}
      </nav>
      {!site.audits.length && <p class="empty">No class has been audited. <code>pure audit</code> does it; then build the atlas again.</p>}
      {name === null && site.audits.length > 0 && <p class="empty">Choose a class to see the virtual neurons that drive it.</p>}
      {name !== null && !entry && site.audits.length > 0 && <NoSuchClass name={name} />}
      {error && <p class="problem" role="alert">{error}</p>}
      {content && <Card audit={content} />}
    </div>
  );
}

function NoSuchClass({ name }: { name: string }) {
  return (
    <div class="problem" role="alert">
      <p>This atlas has no audit of {oneLine(name)}. The nearest:</p>
      <ul>{nearest(name, site.audits.map((one) => one.class)).map((one) => <li key={one}><a href={hrefOf({ kind: "audit", class: one })}>{oneLine(one)}</a></li>)}</ul>
    </div>
  );
}

function Card({ audit }: { audit: Audit }) {
  const most = Math.max(...audit.drivers.map(({ effect, error }) => Math.abs(effect) + (error ?? 0)), Math.abs(audit.control?.random ?? 0), 1e-9);
  return (
    <article class="card" aria-label={`Audit of ${audit.class}`}>
      <div class="bar tools">
        <p class="faint">{oneLine(site.model)} · {oneLine(site.data)} · class {audit.number}</p>
        <span class="space" />
        <Copy text={link} title="Copy a link to this card" glyph="link">Link</Copy>
        <Button title="Print, or save as PDF" glyph="down" onClick={() => window.print()}>Print</Button>
      </div>
      <h1>What drives “{oneLine(audit.class)}”</h1>
      <dl class="facts">
        <div><dt>accuracy</dt><dd>{accuracy(audit.accuracy)}</dd></div>
        <div><dt>images</dt><dd>{count(audit.images)}</dd></div>
      </dl>
      {audit.sentences.map((sentence) => <p key={sentence} class="note"><Told text={sentence} /></p>)}
      <section>
        <h2>Virtual neurons that drive it most</h2>
        {!audit.drivers.length && <p>Nothing was found without which the output of this class falls clearly.</p>}
        <Drivers audit={audit} most={most} />
        {audit.control && <p class="faint small"><Told text={audit.control.text} /></p>}
      </section>
      {!!audit.together?.length && (
        <section>
          <h2>Silenced together</h2>
          <Combined steps={audit.together} before={audit.accuracy} />
        </section>
      )}
      <section>
        <h2>Of these, active on images of other classes</h2>
        {audit.elsewhere.length ? (
          <>
            <p class="faint small">Candidates for spurious cues: the class's output rests on what other classes show as well.</p>
            <ul class="elsewhere">
              {audit.elsewhere.map((one) => (
                <li key={one.address}>
                  <Unit address={one.address} label={one.label ?? ""} />
                  <span>{percent(one.own)} of its images are of this class; most are of {one.classes.slice(0, 3).map(([name, images]) => `${oneLine(name)} (${images})`).join(", ") || "none"}</span>
                </li>
              ))}
            </ul>
          </>
        ) : (
          <p class="faint">{audit.drivers.length ? "None: what drives this class is active on its own images." : "None, since nothing was found that drives this class."}</p>
        )}
      </section>
      <section>
        <h2>Outlier images</h2>
        {audit.outliers.length ? (
          <ul class="outliers">
            {audit.outliers.map((one) => (
              <li key={`${one.address} ${one.slot}`}>
                <Unit address={one.address} label="" />
                <span><code>{oneLine(one.path)}</code> <span class="faint">{[one.class, one.why].filter(Boolean).map(oneLine).join(" · ")}</span></span>
              </li>
            ))}
          </ul>
        ) : (
          <p class="faint">No image stands out.</p>
        )}
      </section>
      <footer class="faint small">{provenance(`audit of ${oneLine(audit.class)}`)}</footer>
    </article>
  );
}

function Drivers({ audit, most }: { audit: Audit; most: number }) {
  const silenced = audit.drivers.some((driver) => driver.silenced);
  const errors = audit.drivers.some(({ error }) => error !== null);
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Virtual neurons that drive the class">
      <table class="drivers">
        <thead>
          <tr>
            <th scope="col">virtual neuron</th>
            <th scope="col" title="How far the class's output falls without it">effect{errors ? " ± error" : ""}</th>
            <th scope="col" title="Part of its reference images that are of this class">of this class</th>
            <th scope="col">its images</th>
            {silenced && <th scope="col" title="Accuracy on the class's images, before and after it is silenced">silenced: this class</th>}
            {silenced && <th scope="col" title="Accuracy on all other images, before and after">others</th>}
          </tr>
        </thead>
        <tbody>{audit.drivers.map((driver) => <DriverRow key={driver.address} driver={driver} most={most} silenced={silenced} />)}</tbody>
        {audit.control && audit.control.random !== null && (
          <tfoot>
            <tr>
              <th scope="row" class="faint">drawn at random</th>
              <td><Effect value={audit.control.random} error={null} most={most} /></td>
              <td colSpan={silenced ? 4 : 2} />
            </tr>
          </tfoot>
        )}
      </table>
    </div>
  );
}

function Combined({ steps, before }: { steps: Together[]; before: number | null }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Accuracy without several drivers at once">
      <table class="drivers">
        <thead>
          <tr>
            <th scope="col">without the first</th>
            <th scope="col">this class ({accuracy(before)} with all)</th>
            <th scope="col">others</th>
            <th scope="col" class="faint">at random: this class</th>
            <th scope="col" class="faint">others</th>
          </tr>
        </thead>
        <tbody>
          {steps.map((step) => (
            <tr key={step.count}>
              <th scope="row">{step.count}</th>
              <td class="number"><b>{accuracy(step.own)}</b></td>
              <td class="number">{accuracy(step.others)}</td>
              <td class="number faint">{accuracy(step.random[0])}</td>
              <td class="number faint">{accuracy(step.random[1])}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function DriverRow({ driver, most, silenced }: { driver: Driver; most: number; silenced: boolean }) {
  const { address, label, effect, error, own, classes } = driver;
  const pair = (values: [number, number] | undefined) => (values ? <>{accuracy(values[0])} → <b>{accuracy(values[1])}</b></> : "–");
  return (
    <tr>
      <th scope="row"><Unit address={address} label={label} /></th>
      <td><Effect value={effect} error={error} most={most} /></td>
      <td class="number">{percent(own)}</td>
      <td class="kinds">{classes.slice(0, 2).map(([name, images]) => `${oneLine(name)} ${images}`).join(", ")}</td>
      {silenced && <td class="number">{pair(driver.silenced?.own)}</td>}
      {silenced && <td class="number">{pair(driver.silenced?.others)}</td>}
    </tr>
  );
}

function Effect({ value, error, most }: { value: number; error: number | null; most: number }) {
  const share = (one: number) => `${(100 * Math.max(one, 0)) / most}%`;
  return (
    <span class="effect">
      <span class="track" aria-hidden="true">
        <span class={value < 0 ? "negative" : ""} style={{ width: share(Math.abs(value)) }} />
        {error !== null && <i style={{ left: share(Math.abs(value) - error), width: share(2 * error) }} />}
      </span>
      <span class="number">{number(value)}{error !== null && <span class="faint"> ± {number(error)}</span>}</span>
    </span>
  );
}

function Unit({ address, label }: { address: string; label: string }) {
  const to: Address | null = parseAddress(address);
  const model = useModel(to?.layer ?? null).content;
  if (!to) return <span>{oneLine(address)}</span>;
  return (
    <a class="unit" href={hrefOf({ kind: "layer", layer: to.layer, panes: [to] })}>
      <Icon layer={model?.layer ?? null} unit={model?.unitOf(to) ?? -1} size={28} />
      <span>{oneLine(address)}</span>
      {label && <span class="faint">{oneLine(label)}</span>}
    </a>
  );
}
