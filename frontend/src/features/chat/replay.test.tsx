import { cleanup, render } from "@solidjs/testing-library";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Mux } from "../../api/mux";
import type { SubscriptionSink } from "../../api/subscription";
import type { Event } from "../../api/types.gen";
import { followSession } from "../../state/live";
import { recorded, snapshot } from "../../testing/recorded";
import { activity } from "./activity";
import { Transcript } from "./transcript";

// Hundreds of screens are drawn in each test; on a busy machine that takes its time.
vi.setConfig({ testTimeout: 120_000 });

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_060_000 });
  vi.stubGlobal(
    "ResizeObserver",
    class {
      observe() {}
      disconnect() {}
    },
  );
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** A session on the screen, fed by hand. An error in any step of drawing comes out of `feed`. */
function open() {
  let sink!: SubscriptionSink;
  const mux = {
    subscribe: (_id: string, given: SubscriptionSink) => {
      sink = given;
      return () => {};
    },
  };
  const live = followSession(mux as unknown as Mux, "session-1", () => {});
  live.start();
  const screen = render(() => (
    <Transcript
      view={live.view}
      letters={[]}
      activity={activity(live.view)}
      onAbortRetry={() => {}}
      onRetryLetter={() => {}}
      onDiscardLetter={() => {}}
    />
  ));
  const feed = (events: Event[]) => {
    sink.onEvents(events);
    // A frame for what is live, or the pause after which a replay is shown as far as it came.
    vi.advanceTimersByTime(500);
  };
  return { sink, feed, text: () => screen.container.textContent, close: screen.unmount };
}

function told(log: Event[], ...pieces: Event[][]): string | null {
  const session = open();
  session.sink.onLive?.(log.at(-1)?.seq ?? 0);
  for (const piece of pieces) session.feed(piece);
  const text = session.text();
  session.close();
  return text;
}

describe.each(["demo", "echo", "reordered"] as const)("the recorded session %s", (name) => {
  const log = recorded(name);
  const whole = () => told(log, log);

  it("reads the same event by event", () => {
    const session = open();
    session.sink.onLive?.(0);
    for (const event of log) session.feed([event]);
    expect(session.text()).toBe(whole());
  });

  it("reads the same after a reload at any moment", () => {
    const expected = whole();
    for (let cut = 1; cut < log.length; cut++) {
      const session = open();
      session.sink.onLive?.(cut);
      session.feed(snapshot(log.slice(0, cut)));
      for (const event of log.slice(cut, cut + 12)) session.feed([event]);
      session.feed(log.slice(cut + 12));
      expect(session.text(), `cut after event ${cut}`).toBe(expected);
      session.close();
    }
  });

  it("reads the same when the first half of a snapshot is shown on its own", () => {
    const expected = whole();
    const short = snapshot(log);
    for (let cut = 1; cut < short.length; cut++) {
      expect(told(log, short.slice(0, cut), short.slice(cut)), `cut after event ${cut}`).toBe(expected);
    }
  });

  it("reads the same when it is forgotten and told again at any moment", () => {
    const expected = whole();
    for (let cut = 1; cut < log.length; cut++) {
      const session = open();
      session.sink.onLive?.(0);
      session.feed(log.slice(0, cut));
      session.sink.onReset();
      session.feed(snapshot(log));
      expect(session.text(), `reset after event ${cut}`).toBe(expected);
      session.close();
    }
  });
});
