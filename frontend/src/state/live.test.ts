import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Mux } from "../api/mux";
import type { SubscriptionSink } from "../api/subscription";
import type { Event } from "../api/types.gen";
import { followSession } from "./live";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "requestAnimationFrame"] });
});
afterEach(() => {
  vi.useRealTimers();
});

const message = (seq: number): Event => ({
  event: "stream.message_end",
  seq,
  message: { id: `m${seq}`, role: "assistant", parts: [{ type: "text", text: `${seq}` }] },
});

function follow() {
  let sink: SubscriptionSink | null = null;
  const live: number[] = [];
  const mux = {
    subscribe: (_id: string, given: SubscriptionSink) => {
      sink = given;
      return () => {};
    },
  };
  const session = followSession(mux as unknown as Mux, "ses_1", (event) => live.push(event.seq ?? 0));
  session.start();
  return { session, live, sink: sink as unknown as SubscriptionSink };
}

describe("a session that is followed", () => {
  it("shows a long replay at once when it is whole, and says nothing of it aloud", () => {
    const { session, sink, live } = follow();
    sink.onLive?.(2000);
    for (let seq = 1; seq < 2000; seq++) sink.onEvents([message(seq)]);
    vi.advanceTimersByTime(100);
    expect(session.view.items).toHaveLength(0);
    expect(session.following()).toBe("loading");
    sink.onEvents([message(2000)]);
    vi.advanceTimersByTime(100);
    expect(session.view.items).toHaveLength(2000);
    expect(session.following()).toBe("live");
    sink.onEvents([message(2001)]);
    vi.advanceTimersByTime(100);
    expect(live).toEqual([2001]);
  });

  it("shows what it has when a replay stalls", () => {
    const { session, sink } = follow();
    sink.onLive?.(10);
    sink.onEvents([message(1)]);
    vi.advanceTimersByTime(1000);
    expect(session.view.items).toHaveLength(1);
  });

  it("asks from the highest event it was given, shown or not", () => {
    const { sink } = follow();
    sink.onLive?.(10);
    sink.onEvents([message(1), message(2)]);
    expect(sink.after()).toBe(2);
  });

  it("forgets everything when told to", () => {
    const { session, sink } = follow();
    sink.onLive?.(1);
    sink.onEvents([message(1)]);
    vi.advanceTimersByTime(100);
    sink.onReset();
    expect(session.view.items).toEqual([]);
    expect(sink.after()).toBe(0);
  });
});
