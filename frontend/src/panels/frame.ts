// Runs inside a sandboxed frame: asks the page around it for a port, then lets the panel live in here.
import type { Connect, Facts, FromFrame, Hello, Oqto, Powers, Style, ToFrame } from "./contract";

const VERSION = 1;

type Panel = HTMLElement & { oqto?: Oqto };
type Waiting = { resolve(value: unknown): void; reject(reason: Error): void };

const waiting = new Map<number, Waiting>();
let lastId = 0;

function onConnect(event: MessageEvent): void {
  const message = event.data as Connect;
  const port = event.ports[0];
  if (event.source !== window.parent || message?.kind !== "connect" || !port) return;
  window.removeEventListener("message", onConnect);
  void live(port, message);
}

async function live(port: MessagePort, first: Connect): Promise<void> {
  const say = (message: FromFrame) => port.postMessage(message);
  const { element = "", module = "" } = document.body.dataset;
  try {
    show(first.style, first.facts);
    await import(/* @vite-ignore */ module);
    if (!customElements.get(element)) throw new Error(`${module} defines no element ${element}`);
    const panel: Panel = document.createElement(element);
    const powers = powersOf(say);
    panel.oqto = { ...first.facts, ...powers };
    port.onmessage = (event) => hear(event.data as ToFrame, panel, powers);
    document.body.append(panel);
    new ResizeObserver(() => say({ kind: "size", height: document.documentElement.offsetHeight })).observe(
      document.documentElement,
    );
    say({ kind: "ready" });
  } catch (reason) {
    say({ kind: "failed", reason: reason instanceof Error ? reason.message : String(reason) });
  }
}

function powersOf(say: (message: FromFrame) => void): Powers {
  const ask = (power: keyof Powers, ...given: unknown[]) =>
    new Promise<unknown>((resolve, reject) => {
      lastId += 1;
      waiting.set(lastId, { resolve, reject });
      say({ kind: "ask", id: lastId, power, arguments: given });
    });
  return {
    call: (method, path, body) => ask("call", method, path, body),
    suggest: (text) => ask("suggest", text) as Promise<void>,
  };
}

function hear(message: ToFrame, panel: Panel, powers: Powers): void {
  if (message.kind === "facts") {
    show(message.style, message.facts);
    panel.oqto = { ...message.facts, ...powers };
    return;
  }
  if (message.kind === "fonts") {
    for (const { family, file } of message.fonts) {
      document.fonts.add(new FontFace(family, file, { weight: "100 900" }));
    }
    return;
  }
  const asker = waiting.get(message.id);
  waiting.delete(message.id);
  if (message.kind === "answer") asker?.resolve(message.value);
  else {
    const { detail, code, status } = message;
    asker?.reject(Object.assign(new Error(detail), { code, status }));
  }
}

/** Takes on the page's colours and measures. */
function show(style: Style, facts: Facts): void {
  const root = document.documentElement;
  root.dataset.place = facts.place;
  root.style.colorScheme = facts.theme;
  for (const [name, value] of Object.entries(style)) root.style.setProperty(name, value);
}

window.addEventListener("message", onConnect);
window.parent.postMessage({ oqto: VERSION, kind: "hello" } satisfies Hello, window.location.origin);
