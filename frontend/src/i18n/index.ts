import { en } from "./en";
import { admin } from "./en-admin";
import { budget } from "./en-budget";
import { chat } from "./en-chat";
import { config } from "./en-config";
import { panels } from "./en-panels";

const words = { ...en, ...admin, ...chat, ...config, ...panels, ...budget };
export type Key = keyof typeof words;

/** The sentence for `key`, with `{name}` filled in from `values`. */
export function t(key: Key, values: Record<string, string | number> = {}): string {
  return words[key].replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

// The sentences are English, so the dates inside them are too; only the clock follows the reader.
const LANGUAGE = "en";

/** Cents matter, and below one cent a cost that is not nothing still shows. */
export function money(usd: number): string {
  const digits = usd > 0 && usd < 0.01 ? 4 : 2;
  return new Intl.NumberFormat("en-US", {
    style: "currency",
    currency: "USD",
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(usd);
}

export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}:${String(seconds % 60).padStart(2, "0")}`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A running clock: `7 s`, then `2:13`. */
export function clockTime(ms: number): string {
  return ms < 10_000 ? `${Math.floor(ms / 1000)} s` : duration(ms);
}

export function timeOfDay(ms: number): string {
  return new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" }).format(ms);
}

const STEPS: Array<[Intl.RelativeTimeFormatUnit, number]> = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

export function ago(seconds: number, nowMs: number): string {
  const passed = Math.max(0, nowMs / 1000 - seconds);
  if (passed > 7 * 86_400) {
    return new Intl.DateTimeFormat(LANGUAGE, { day: "numeric", month: "short" }).format(seconds * 1000);
  }
  const format = new Intl.RelativeTimeFormat(LANGUAGE, { numeric: "auto", style: "narrow" });
  for (const [unit, size] of STEPS) {
    if (passed >= size) return format.format(-Math.floor(passed / size), unit);
  }
  return t("time.now");
}

export function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(0)} KB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}
