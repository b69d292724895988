import sans from "@fontsource-variable/instrument-sans/files/instrument-sans-latin-wght-normal.woff2?url";
import mono from "@fontsource-variable/jetbrains-mono/files/jetbrains-mono-latin-wght-normal.woff2?url";
import { createSignal } from "solid-js";
import { theme } from "../state/theme";
import type { Style, Typeface } from "./contract";

const NAMES =
  "bg surface sunken hover line line-strong text muted accent accent-hover on-accent accent-soft danger danger-soft " +
  "warn warn-soft ok font mono size-s size-m size-l size-xl leading gap-1 gap-2 gap-3 gap-4 gap-5 gap-6 round-s round " +
  "round-l target";

const dark = typeof matchMedia === "function" ? matchMedia("(prefers-color-scheme: dark)") : null;
const [isSystemDark, setSystemDark] = createSignal(dark?.matches ?? false);
dark?.addEventListener("change", () => setSystemDark(dark.matches));

/** The theme as it is shown: what the person chose, or what the system asks for. */
export function shownTheme(): "light" | "dark" {
  const chosen = theme();
  if (chosen !== "system") return chosen;
  return isSystemDark() ? "dark" : "light";
}

/** The page's custom properties, for a frame that cannot see them. */
export function style(): Style {
  const computed = getComputedStyle(document.documentElement);
  return Object.fromEntries(
    NAMES.split(" ").map((name) => [`--${name}`, computed.getPropertyValue(`--${name}`).trim()]),
  );
}

const FACES = { "Instrument Sans Variable": sans, "JetBrains Mono Variable": mono };
let typefaces: Promise<Typeface[]> | undefined;

/** The page's typefaces, read once. A frame without them is less pretty, and works. */
export function fonts(): Promise<Typeface[]> {
  typefaces ??= Promise.all(Object.entries(FACES).map(read)).catch(() => []);
  return typefaces;
}

async function read([family, url]: [string, string]): Promise<Typeface> {
  return { family, file: await (await fetch(url)).arrayBuffer() };
}
