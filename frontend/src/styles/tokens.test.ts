import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const css = readFileSync(join(import.meta.dirname, "tokens.css"), "utf8");
const THEMES = ["light", "dark"] as const;
const colors = new Map(
  [...css.matchAll(/--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)/g)].map((match) => [
    match[1] ?? "",
    { light: match[2] ?? "", dark: match[3] ?? "" },
  ]),
);

function luminance(hex: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return part <= 0.040_45 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: string, b: string, theme: (typeof THEMES)[number]): number {
  const [low = 0, high = 0] = [a, b]
    .map((name) => luminance(colors.get(name)?.[theme] ?? ""))
    .sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

const TEXT = [
  ...["bg", "surface", "sunken", "hover", "accent-soft", "danger-soft", "warn-soft"].map((ground) => [
    "text",
    ground,
  ]),
  ...["bg", "surface", "sunken", "hover", "danger-soft", "warn-soft"].map((ground) => ["muted", ground]),
  ...["bg", "surface", "sunken", "accent-soft"].map((ground) => ["accent", ground]),
  ...["bg", "surface", "danger-soft"].map((ground) => ["danger", ground]),
  ...["bg", "surface", "warn-soft"].map((ground) => ["warn", ground]),
  ["ok", "surface"],
  ["on-accent", "accent"],
  ["on-accent", "accent-hover"],
  ...["keyword", "string", "number", "title"].map((kind) => [`code-${kind}`, "sunken"]),
];
const CONTROLS = ["bg", "surface", "sunken"].map((ground) => ["line-strong", ground]);

describe.each(THEMES)("%s colours", (theme) => {
  it.each(TEXT)("%s on %s can be read", (front = "", back = "") => {
    expect(contrast(front, back, theme)).toBeGreaterThanOrEqual(4.5);
  });

  it.each(CONTROLS)("%s on %s can be seen", (front = "", back = "") => {
    expect(contrast(front, back, theme)).toBeGreaterThanOrEqual(3);
  });
});
