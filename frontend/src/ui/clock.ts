import { createSignal, onCleanup } from "solid-js";

/** The time, told every `everyMs` while the caller is on the screen. */
export function createClock(everyMs = 1000): () => number {
  const [now, setNow] = createSignal(Date.now());
  const timer = setInterval(() => setNow(Date.now()), everyMs);
  onCleanup(() => clearInterval(timer));
  return now;
}
