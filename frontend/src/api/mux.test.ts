import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type ByeCode, type Connection, Mux, pauseMs } from "./mux";
import type { Event } from "./types.gen";

class FakeSocket {
  onmessage: ((message: { data: string }) => void) | null = null;
  onclose: (() => void) | null = null;
  readonly sent: Array<Record<string, unknown>> = [];
  isClosed = false;

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  close(): void {
    this.isClosed = true;
  }
  say(frame: Record<string, unknown>): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }
  greet(): void {
    this.say({ channel: "system", type: "connected", version: "1" });
  }
  answer(at: number, data: unknown): void {
    const { id, cmd, session_id } = this.sent[at] ?? {};
    this.say({ channel: "agent", event: "response", id, cmd, session_id, success: true, data });
  }
}

function connect() {
  const sockets: FakeSocket[] = [];
  const states: Connection[] = [];
  const byes: ByeCode[] = [];
  let refused = 0;
  const mux = new Mux(
    {
      onConnection: (state) => states.push(state),
      onSessions: () => {},
      onBye: (code) => byes.push(code),
      onRefused: () => refused++,
    },
    {
      open: () => {
        const socket = new FakeSocket();
        sockets.push(socket);
        return socket as unknown as WebSocket;
      },
      nowMs: () => Date.now(),
      random: () => 1,
    },
  );
  mux.start();
  const last = () => sockets.at(-1) as FakeSocket;
  return { mux, sockets, states, byes, last, refused: () => refused };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("the connection", () => {
  it("gives each command its own reply, whatever their order", async () => {
    const { mux, last } = connect();
    last().greet();
    const first = mux.command("ses_1", "get_state");
    const second = mux.command("ses_1", "get_models");
    last().answer(1, "models");
    last().answer(0, "state");
    await expect(Promise.all([first, second])).resolves.toEqual(["state", "models"]);
    mux.stop();
  });

  it("rejects with the server's problem, on a frame error too", async () => {
    const { mux, last } = connect();
    last().greet();
    const reply = mux.command("ses_1", "prompt");
    const { id } = last().sent[0] ?? {};
    last().say({
      channel: "system",
      type: "error",
      id,
      error: { code: "invalid", status: 422, detail: "no message" },
    });
    await expect(reply).rejects.toMatchObject({ code: "invalid", detail: "no message" });
    mux.stop();
  });

  it("refuses what the server would hang up on, and sends nothing of it", async () => {
    const { mux, last } = connect();
    last().say({ channel: "system", type: "connected", version: "1", max_message_bytes: 2 ** 20 });
    const reply = mux.command("ses_1", "prompt", { message: "ä".repeat(2 ** 19) });
    await expect(reply).rejects.toMatchObject({ code: "too-large", isPassing: false });
    await expect(reply).rejects.toThrow("larger than 1 MB");
    expect(last().sent).toHaveLength(0);
    mux.command("ses_1", "prompt", { message: "a".repeat(2 ** 19) }).catch(() => {});
    expect(last().sent).toHaveLength(1);
    mux.stop();
  });

  it("fails what waits when the line is cut, so that it can be sent again", async () => {
    const { mux, last } = connect();
    last().greet();
    const reply = mux.command("ses_1", "prompt");
    last().onclose?.();
    await expect(reply).rejects.toMatchObject({ code: "unreachable", isPassing: true });
    mux.stop();
  });

  it("gives up on a reply that never comes", async () => {
    const { mux, last } = connect();
    last().greet();
    const reply = mux.command("ses_1", "compact", {}, 1000);
    vi.advanceTimersByTime(1001);
    await expect(reply).rejects.toMatchObject({ code: "timeout" });
    mux.stop();
  });

  it("comes back after growing pauses and subscribes again from the highest seq", () => {
    const { mux, sockets, last, states } = connect();
    const seen: number[] = [];
    mux.subscribe("ses_1", {
      after: () => seen.at(-1) ?? 0,
      onEvents: (events: Event[]) => seen.push(...events.map((one) => one.seq ?? 0)),
      onReset: () => {},
    });
    last().greet();
    expect(last().sent[0]).toMatchObject({ cmd: "subscribe", after: 0 });
    last().onclose?.();
    expect(states.at(-1)).toBe("waiting");
    vi.advanceTimersByTime(500);
    expect(sockets).toHaveLength(2);
    last().onclose?.();
    vi.advanceTimersByTime(999);
    expect(sockets).toHaveLength(2);
    vi.advanceTimersByTime(1);
    last().greet();
    expect(last().sent[0]).toMatchObject({ cmd: "subscribe", after: 0, session_id: "ses_1" });
    mux.stop();
  });

  it("tries at once when the network is back", () => {
    const { mux, sockets, last } = connect();
    last().onclose?.();
    window.dispatchEvent(new window.Event("online"));
    expect(sockets).toHaveLength(2);
    mux.stop();
  });

  it("replaces a socket that has fallen silent", () => {
    const { mux, sockets, last } = connect();
    last().greet();
    vi.advanceTimersByTime(20_000);
    expect(sockets).toHaveLength(1);
    vi.advanceTimersByTime(10_000);
    expect(sockets).toHaveLength(2);
    expect(sockets[0]?.isClosed).toBe(true);
    mux.stop();
  });

  it("passes on why the server says goodbye, and asks who is signed in when it is not even greeted", () => {
    const { mux, last, byes, refused } = connect();
    last().onclose?.();
    expect(refused()).toBe(1);
    vi.advanceTimersByTime(500);
    last().greet();
    last().say({ channel: "system", type: "bye", code: "signed_out", reason: "" });
    last().onclose?.();
    expect(byes).toEqual(["signed_out"]);
    expect(refused()).toBe(1);
    mux.stop();
  });

  it("stays stopped", () => {
    const { mux, sockets, last } = connect();
    last().greet();
    mux.stop();
    vi.advanceTimersByTime(120_000);
    expect(sockets).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("the pause before the next try", () => {
  it("doubles up to half a minute, with a random half", () => {
    expect([0, 1, 2, 20].map((attempt) => pauseMs(attempt, 1))).toEqual([500, 1000, 2000, 30_000]);
    expect(pauseMs(3, 0)).toBe(2000);
  });
});
