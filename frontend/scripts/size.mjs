// The budgets of the built page: what a first visit downloads, each lazy chunk, and the whole.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const dist = join(import.meta.dirname, "..", "dist");
const BUDGET_KB = { firstJs: 120, firstCss: 20, lazyChunk: 180, total: 3072 };

const gzipKb = (path) => gzipSync(readFileSync(path)).length / 1024;

function firstLoad() {
  const manifest = JSON.parse(readFileSync(join(dist, ".vite", "manifest.json"), "utf8"));
  const scripts = new Set();
  const styles = new Set();
  const visit = (key) => {
    const chunk = manifest[key];
    if (scripts.has(chunk.file)) return;
    scripts.add(chunk.file);
    for (const css of chunk.css ?? []) styles.add(css);
    for (const next of chunk.imports ?? []) visit(next);
  };
  visit("index.html");
  return { scripts, styles };
}

function totalBytes(folder) {
  return readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    const path = join(folder, entry.name);
    return sum + (entry.isDirectory() ? totalBytes(path) : statSync(path).size);
  }, 0);
}

const { scripts, styles } = firstLoad();
const sum = (files) => [...files].reduce((kb, file) => kb + gzipKb(join(dist, file)), 0);
const lazy = readdirSync(join(dist, "assets"))
  .filter((name) => name.endsWith(".js") && !scripts.has(`assets/${name}`))
  .map((name) => [`lazy chunk ${name} (gzip)`, gzipKb(join(dist, "assets", name)), BUDGET_KB.lazyChunk]);

const rows = [
  ["first-load JavaScript (gzip)", sum(scripts), BUDGET_KB.firstJs],
  ["first-load CSS (gzip)", sum(styles), BUDGET_KB.firstCss],
  ...lazy,
  ["everything on disk", totalBytes(dist) / 1024, BUDGET_KB.total],
];

const html = readFileSync(join(dist, "index.html"), "utf8");
const inline = /<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=/i.test(html);
const failed = rows.filter(([, kb, limit]) => kb > limit);
for (const [name, kb, limit] of rows) {
  console.log(`${kb > limit ? "OVER" : "ok  "} ${name}: ${kb.toFixed(1)} KB of ${limit} KB`);
}
if (inline)
  console.log("OVER index.html holds inline script or style, which the content security policy blocks");
process.exit(failed.length || inline ? 1 : 0);
