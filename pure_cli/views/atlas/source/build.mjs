// Writes ../bundle: program and style, minified, and the licences of what is inside. The first line of each names the
// checksum of all that it was made from, which a test of the package computes anew.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const sources = [
  ...["build.mjs", "package.json", "package-lock.json", "tsconfig.json"],
  ...readdirSync("src").map((name) => `src/${name}`),
].sort();
const hash = createHash("sha256");
for (const name of sources) hash.update(`${name}\0`).update(readFileSync(name)).update("\0");
const first = `/* pure atlas, built from ${hash.digest("hex")} by make atlas-page; licences.txt names what is inside */`;

await build({
  entryPoints: { atlas: "src/main.tsx" },
  outdir: "../bundle",
  bundle: true,
  minify: true,
  format: "iife",
  target: ["chrome100", "firefox100", "safari15.4"],
  jsx: "automatic",
  jsxImportSource: "preact",
  charset: "ascii",
  legalComments: "none",
  banner: { js: first, css: first },
  logLevel: "info",
});
for (const name of ["atlas.js", "atlas.css"])
  if (/<\/(script|style)|<!--/i.test(readFileSync(`../bundle/${name}`, "utf8")))
    throw new Error(`${name} cannot stand inside a page: it closes its own element.`);

const licence = readFileSync("node_modules/preact/LICENSE", "utf8");
const { version } = JSON.parse(readFileSync("node_modules/preact/package.json", "utf8"));
writeFileSync("../bundle/licences.txt", `preact ${version} (https://preactjs.com), inside atlas.js\n\n${licence}`);
