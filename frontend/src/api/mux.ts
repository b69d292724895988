import { debugWs } from "./debug";
import { ProblemError, unreachable } from "./problem";
import type { Session } from "./rest";
import { Subscription, type SubscriptionSink } from "./subscription";
import type { Event, Problem } from "./types.gen";

export type Connection = "connecting" | "open" | "waiting" | "stopped";
export type ByeCode = "signed_out" | "restart" | "slow" | "protocol";

export interface SessionNews {
  sessions: Session[];
  gone: string[];
  /** The list begins anew: the `most` sessions that were used last. */
  all: boolean;
  most: number;
}

export interface MuxHooks {
  onConnection(state: Connection, retryAtMs: number | null): void;
  onBye(code: ByeCode, reason: string): void;
  /** The list of sessions, or what changed in it. */
  onSessions(news: SessionNews): void;
  /** The socket closed before the server greeted: the cookie may have run out. */
  onRefused(): void;
}

export interface Surroundings {
  open(): WebSocket;
  nowMs(): number;
  random(): number;
}

type Fields = Record<string, unknown>;
type Frame = Fields & { channel?: string; type?: string; event?: string; id?: string; session_id?: string };
interface Waiting {
  resolve(data: unknown): void;
  reject(problem: ProblemError): void;
  timer: ReturnType<typeof setTimeout>;
}

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;
const SILENCE_MS = 25_000; // the server pings every 10 s
const STALE_MS = 12_000;
const REPLY_MS = 30_000;

/** One WebSocket for everything: replies by id, subscriptions that survive any number of reconnects. */
export class Mux {
  private socket: WebSocket | null = null;
  private state: Connection = "stopped";
  private greeted = false;
  private attempts = 0;
  private lastFrameMs = 0;
  private nextId = 0;
  // A longer message would end the connection, and sent again it would end the next one.
  private mostBytes = Number.POSITIVE_INFINITY;
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private silenceTimer: ReturnType<typeof setInterval> | undefined;
  private readonly waiting = new Map<string, Waiting>();
  private readonly subscriptions = new Map<string, Subscription>();

  constructor(
    private readonly hooks: MuxHooks,
    private readonly around: Surroundings,
  ) {}

  get connection(): Connection {
    return this.state;
  }

  start(): void {
    if (this.state !== "stopped") return;
    window.addEventListener("online", this.hurry);
    document.addEventListener("visibilitychange", this.hurry);
    this.silenceTimer = setInterval(() => this.checkSilence(SILENCE_MS), 5_000);
    this.connect();
  }

  stop(): void {
    window.removeEventListener("online", this.hurry);
    document.removeEventListener("visibilitychange", this.hurry);
    clearInterval(this.silenceTimer);
    clearTimeout(this.retryTimer);
    this.setState("stopped");
    this.drop();
    for (const subscription of this.subscriptions.values()) subscription.disconnected();
  }

  /** Connect now instead of after the pause. */
  readonly hurry = (): void => {
    if (document.visibilityState === "hidden") return;
    if (this.state === "waiting") {
      this.attempts = 0;
      this.connect();
    } else if (this.state === "open") {
      this.checkSilence(STALE_MS);
    }
  };

  /** Sends a command; resolves with the reply's data, rejects with a ProblemError. */
  command<T = unknown>(
    sessionId: string,
    cmd: string,
    fields: Fields = {},
    timeoutMs = REPLY_MS,
  ): Promise<T> {
    const socket = this.socket;
    if (this.state !== "open" || !socket) return Promise.reject(unreachable());
    const id = `c${++this.nextId}`;
    const text = JSON.stringify({ channel: "agent", id, session_id: sessionId, cmd, ...fields });
    if (bytesOf(text) > this.mostBytes) return Promise.reject(tooLarge(this.mostBytes));
    const reply = new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => this.fail(id, late(cmd)), timeoutMs);
      this.waiting.set(id, { resolve: (data) => resolve(data as T), reject, timer });
    });
    debugWs("out", { channel: "agent", id, session_id: sessionId, cmd, ...fields });
    socket.send(text);
    return reply;
  }

  /** Events of a session flow into `sink` until the returned function is called. */
  subscribe(sessionId: string, sink: SubscriptionSink): () => void {
    const subscription = new Subscription(sink, (after) =>
      this.command(sessionId, "subscribe", { after, lines: true }),
    );
    this.subscriptions.set(sessionId, subscription);
    if (this.state === "open") subscription.connect();
    return () => {
      if (this.subscriptions.get(sessionId) !== subscription) return;
      this.subscriptions.delete(sessionId);
      subscription.disconnected();
      if (this.state === "open") this.command(sessionId, "unsubscribe").catch(() => {});
    };
  }

  private connect(): void {
    clearTimeout(this.retryTimer);
    this.drop();
    this.greeted = false;
    this.lastFrameMs = this.around.nowMs();
    this.setState("connecting");
    const socket = this.around.open();
    this.socket = socket;
    socket.onmessage = (message) => {
      if (this.socket === socket) this.receive(String(message.data));
    };
    socket.onclose = () => {
      if (this.socket === socket) this.closed();
    };
  }

  private receive(text: string): void {
    this.lastFrameMs = this.around.nowMs();
    for (const line of text.split("\n")) this.take(JSON.parse(line) as Frame);
  }

  private take(frame: Frame): void {
    debugWs("in", frame);
    if (frame.channel === "system") this.system(frame);
    else if (frame.event === "response") this.answer(frame);
    else this.subscriptions.get(frame.session_id ?? "")?.receive(frame as unknown as Event);
  }

  private system(frame: Frame): void {
    if (frame.type === "connected") this.opened(Number(frame.max_message_bytes ?? Number.POSITIVE_INFINITY));
    else if (frame.type === "sessions") this.hooks.onSessions(frame as unknown as SessionNews);
    else if (frame.type === "bye") this.hooks.onBye(frame.code as ByeCode, String(frame.reason ?? ""));
    else if (frame.type === "error" && frame.id)
      this.fail(frame.id, new ProblemError(frame.error as Problem));
  }

  private opened(mostBytes: number): void {
    this.mostBytes = mostBytes;
    this.greeted = true;
    this.attempts = 0;
    this.setState("open");
    for (const subscription of this.subscriptions.values()) subscription.connect();
  }

  private answer(frame: Frame): void {
    const id = frame.id ?? "";
    const waiting = this.waiting.get(id);
    if (!waiting) return;
    if (!frame.success) return this.fail(id, new ProblemError(frame.error as Problem));
    this.waiting.delete(id);
    clearTimeout(waiting.timer);
    waiting.resolve(frame.data);
  }

  private fail(id: string, problem: ProblemError): void {
    const waiting = this.waiting.get(id);
    if (!waiting) return;
    this.waiting.delete(id);
    clearTimeout(waiting.timer);
    waiting.reject(problem);
  }

  private closed(): void {
    const wasGreeted = this.greeted;
    this.drop();
    if (this.state === "stopped") return;
    if (!wasGreeted) this.hooks.onRefused();
    if (this.connection === "stopped") return;
    const delayMs = pauseMs(this.attempts++, this.around.random());
    this.retryTimer = setTimeout(() => this.connect(), delayMs);
    this.setState("waiting", this.around.nowMs() + delayMs);
  }

  private drop(): void {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    for (const id of [...this.waiting.keys()]) this.fail(id, unreachable());
    for (const subscription of this.subscriptions.values()) subscription.disconnected();
  }

  // A phone that slept, or a network that changed, leaves a socket that looks open and says nothing.
  private checkSilence(limitMs: number): void {
    const isQuiet = this.around.nowMs() - this.lastFrameMs > limitMs;
    if (isQuiet && (this.state === "open" || this.state === "connecting")) this.connect();
  }

  private setState(state: Connection, retryAtMs: number | null = null): void {
    this.state = state;
    this.hooks.onConnection(state, retryAtMs);
  }
}

/** Doubles from half a second to half a minute; the random half keeps many browsers from returning at once. */
export function pauseMs(attempt: number, random: number): number {
  const longest = Math.min(FIRST_DELAY_MS * 2 ** attempt, LONGEST_DELAY_MS);
  return Math.round(longest * (0.5 + random / 2));
}

// A character is at most three bytes: hardly any message has to be counted.
function bytesOf(text: string): number {
  return text.length < 256 * 1024 ? text.length * 3 : new TextEncoder().encode(text).length;
}

function tooLarge(mostBytes: number): ProblemError {
  const most = Math.round(mostBytes / 2 ** 20);
  const detail = `This message is larger than ${most} MB, the most that the server takes at once. Take out a picture.`;
  return new ProblemError({ code: "too-large", status: 413, detail });
}

function late(cmd: string): ProblemError {
  return new ProblemError({ code: "timeout", status: 504, detail: `No answer to “${cmd}” came in time.` });
}
