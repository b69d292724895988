// The page's side of a frame that nobody vouched for. It hears one window, and of that only what stands in `Powers`.
import { ProblemError } from "../api/problem";
import {
  type Connect,
  type Facts,
  type FromFrame,
  type Powers,
  type Style,
  type ToFrame,
  type Typeface,
  VERSION,
} from "./contract";

const MAX_HEIGHT = 4_000;
const MAX_ASKED = 16;

export interface Listener {
  onReady(): void;
  onFailed(reason: string): void;
  onSize(height: number): void;
}

export interface Bridge {
  /** Tells the frame what has changed. */
  tell(facts: Facts, style: Style): void;
  close(): void;
}

/** Waits for the frame's greeting and gives it a port. A frame that loads anew is connected anew. */
export function bridge(
  frame: HTMLIFrameElement,
  powers: Powers,
  now: () => { facts: Facts; style: Style },
  fonts: () => Promise<Typeface[]>,
  listener: Listener,
): Bridge {
  let port: MessagePort | null = null;

  const onMessage = (event: MessageEvent) => {
    // A sandboxed frame has the origin "null", as any other has: the window says whether it is this one.
    if (event.source !== frame.contentWindow || event.origin !== "null") return;
    const hello = event.data as { oqto?: unknown; kind?: unknown } | null;
    if (hello?.kind !== "hello" || typeof hello.oqto !== "number") return;
    if (hello.oqto !== VERSION) {
      listener.onFailed(`it speaks version ${hello.oqto} of the bridge, this page version ${VERSION}`);
      return;
    }
    connect();
  };

  const connect = () => {
    port?.close();
    const channel = new MessageChannel();
    port = channel.port1;
    port.onmessage = (message) => hear(channel.port1, message.data, powers, listener);
    const message: Connect = { oqto: VERSION, kind: "connect", ...now() };
    // An opaque origin has no name to address it by. Nothing secret is in here, and the page's policy lets
    // this frame show nothing but our own server.
    frame.contentWindow?.postMessage(message, "*", [channel.port2]);
    void fonts().then((faces) =>
      channel.port1.postMessage({ kind: "fonts", fonts: faces } satisfies ToFrame),
    );
  };

  window.addEventListener("message", onMessage);
  return {
    tell: (facts, style) => port?.postMessage({ kind: "facts", facts, style } satisfies ToFrame),
    close: () => {
      window.removeEventListener("message", onMessage);
      port?.close();
      port = null;
    },
  };
}

const asked = new WeakMap<MessagePort, number>();

function hear(port: MessagePort, data: unknown, powers: Powers, listener: Listener): void {
  const message = data as FromFrame | null;
  switch (message?.kind) {
    case "ready":
      return listener.onReady();
    case "failed":
      return listener.onFailed(String(message.reason).slice(0, 300));
    case "size":
      if (Number.isFinite(message.height)) listener.onSize(Math.min(Math.max(message.height, 0), MAX_HEIGHT));
      return;
    case "ask":
      void answer(port, message, powers);
  }
}

async function answer(
  port: MessagePort,
  message: Extract<FromFrame, { kind: "ask" }>,
  powers: Powers,
): Promise<void> {
  const { id } = message;
  const running = asked.get(port) ?? 0;
  asked.set(port, running + 1);
  try {
    if (running >= MAX_ASKED) throw new Error(`at most ${MAX_ASKED} calls at a time`);
    if (!Object.hasOwn(powers, message.power))
      throw new Error(`a panel has no power ${String(message.power)}`);
    const given = Array.isArray(message.arguments) ? message.arguments : [];
    const value = await (powers[message.power] as (...values: unknown[]) => Promise<unknown>)(...given);
    port.postMessage({ kind: "answer", id, value } satisfies ToFrame);
  } catch (reason) {
    port.postMessage({ kind: "refusal", id, ...refusal(reason) } satisfies ToFrame);
  } finally {
    asked.set(port, (asked.get(port) ?? 1) - 1);
  }
}

function refusal(reason: unknown): { detail: string; code: string; status: number } {
  if (reason instanceof ProblemError)
    return { detail: reason.detail, code: reason.code, status: reason.status };
  return { detail: reason instanceof Error ? reason.message : String(reason), code: "refused", status: 0 };
}
