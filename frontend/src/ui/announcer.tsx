import { createSignal, type JSX } from "solid-js";

const [polite, setPolite] = createSignal("");
const [assertive, setAssertive] = createSignal("");
const PAUSE_MS = 3_000;

let last = 0;
let waiting: string | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Says something to people who listen to the page; polite words come at most every three seconds. */
export function announce(text: string, isUrgent = false): void {
  if (isUrgent) {
    setAssertive("");
    queueMicrotask(() => setAssertive(text));
    return;
  }
  waiting = text;
  const pauseMs = Math.max(0, last + PAUSE_MS - Date.now());
  if (timer === undefined) timer = setTimeout(speak, pauseMs);
}

function speak(): void {
  timer = undefined;
  last = Date.now();
  setPolite(waiting ?? "");
  waiting = null;
}

export function Announcer(): JSX.Element {
  return (
    <>
      <div class="visually-hidden" role="status" aria-live="polite">
        {polite()}
      </div>
      <div class="visually-hidden" role="alert" aria-live="assertive">
        {assertive()}
      </div>
    </>
  );
}
