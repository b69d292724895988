// What a person types for a key, as the value that the server takes, and back.
import type { KeyView, SettingsView } from "../../api/types.gen";

export interface Group {
  name: string;
  keys: KeyView[];
}

/** The keys by section, those of a section inside another under its own name. */
export function groups(keys: KeyView[]): Group[] {
  const found = new Map<string, KeyView[]>();
  for (const key of keys) {
    const section = key.name.slice(0, key.name.lastIndexOf("."));
    found.set(section, [...(found.get(section) ?? []), key]);
  }
  return [...found].map(([name, inside]) => ({ name, keys: inside }));
}

export const shortName = (key: KeyView): string => key.name.slice(key.name.lastIndexOf(".") + 1);

/** Keys whose name or meaning has every word of the search. */
export function matching(keys: KeyView[], search: string): KeyView[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  return keys.filter((key) => {
    const text = `${key.name} ${key.description}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

/** A value as it stands in a field. */
export function toText(key: KeyView, value: unknown): string {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.map(String).join("\n");
  if (key.type === "table") return JSON.stringify(value, null, 2);
  return String(value);
}

/** The value that a field's text stands for. An empty number means: not set. */
export function fromText(key: KeyView, text: string): unknown {
  const trimmed = text.trim();
  if (key.type === "integer" || key.type === "number") {
    if (trimmed === "") return null;
    const number = Number(trimmed);
    return Number.isFinite(number) ? number : trimmed;
  }
  if (key.type === "list") {
    return text
      .split("\n")
      .map((line) => line.trim())
      .filter(Boolean);
  }
  return key.type === "text" || key.type === "secret" ? trimmed : text;
}

/** What holds after the next start, which is what the file says. */
export const inFile = (key: KeyView): unknown => (key.is_pending ? key.wanted : key.value);

export type Lock = "variable" | "flag" | "profile" | "table" | "needs" | null;

/** Why a key cannot be changed here. */
export function lockOf(key: KeyView, file: SettingsView["file"]): Lock {
  if (key.needs) return "needs";
  if (key.origin === "command line") return "flag";
  if (/^OQTO__/i.test(key.origin)) return "variable";
  if (key.origin !== "default" && key.origin !== file) return "profile";
  return key.type === "table" ? "table" : null;
}
