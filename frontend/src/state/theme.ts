import { createSignal } from "solid-js";
import { load, save } from "./storage";

export type Theme = "system" | "light" | "dark";

const KEY = "oqto.theme";
const stored = load(KEY);
const [theme, setSignal] = createSignal<Theme>(stored === "light" || stored === "dark" ? stored : "system");

export { theme };

export function setTheme(next: Theme): void {
  save(KEY, next === "system" ? null : next);
  setSignal(next);
  showTheme();
}

export function showTheme(): void {
  const root = document.documentElement;
  if (theme() === "system") delete root.dataset.theme;
  else root.dataset.theme = theme();
}
