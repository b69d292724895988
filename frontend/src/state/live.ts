// A session that is followed: events are taken in one batch per frame, so a fast agent costs no more than a slow one.
import { batch, createSignal } from "solid-js";
import { createStore, produce, unwrap } from "solid-js/store";
import { debugPi } from "../api/debug";
import type { Mux } from "../api/mux";
import type { ProblemError } from "../api/problem";
import type { Event } from "../api/types.gen";
import { apply, fold } from "./session";
import { emptyView } from "./view";

export type Following = "loading" | "live" | "failed";
export type OnLiveEvent = (event: Event) => void;

const LARGE_BATCH = 400;
const HIDDEN_FLUSH_MS = 200;
const STALL_MS = 400;

export function followSession(mux: Mux, sessionId: string, onLive: OnLiveEvent) {
  const [view, setView] = createStore(emptyView());
  const [following, setFollowing] = createSignal<Following>("loading");
  const [problem, setProblem] = createSignal<ProblemError | null>(null);
  let pending: Event[] = [];
  let scheduled = false;
  let stalled: ReturnType<typeof setTimeout> | undefined;
  let unsubscribe: (() => void) | null = null;
  let liveAfter = Number.MAX_SAFE_INTEGER;

  const after = () => pending.at(-1)?.seq ?? view.seq;

  const flush = () => {
    scheduled = false;
    clearTimeout(stalled);
    const events = pending;
    pending = [];
    if (!events.length) return;
    take(events);
    if (view.seq >= liveAfter) setFollowing("live");
    for (const event of events) {
      debugPi(event);
      if ((event.seq ?? 0) > liveAfter) onLive(event);
    }
  };

  const take = (events: Event[]) => {
    if (events.length > LARGE_BATCH) {
      // A long replay is folded outside the store: nobody watches its steps.
      const whole = fold(events, structuredClone(unwrap(view)));
      setView(whole);
      return;
    }
    batch(() =>
      setView(
        produce((draft) => {
          for (const event of events) apply(draft, event);
        }),
      ),
    );
  };

  const schedule = () => {
    if (scheduled) return;
    if (after() < liveAfter) {
      // A replay is shown when it is whole: nobody reads ten thousand messages as they rush by.
      clearTimeout(stalled);
      stalled = setTimeout(flush, STALL_MS);
      return;
    }
    scheduled = true;
    if (document.visibilityState === "hidden") setTimeout(flush, HIDDEN_FLUSH_MS);
    else requestAnimationFrame(flush);
  };

  const sink = {
    after,
    onEvents: (events: Event[]) => {
      pending.push(...events);
      schedule();
    },
    onReset: () => {
      pending = [];
      setView(emptyView());
    },
    onLive: (last: number) => {
      liveAfter = last;
      setProblem(null);
      if (after() >= last) setFollowing("live");
    },
    onFailed: (failure: ProblemError) => {
      batch(() => {
        setProblem(failure);
        setFollowing("failed");
      });
    },
  };

  const start = () => {
    if (unsubscribe) return;
    unsubscribe = mux.subscribe(sessionId, sink);
  };

  const stop = () => {
    unsubscribe?.();
    unsubscribe = null;
    flush();
  };

  const retry = () => {
    stop();
    start();
  };

  return { id: sessionId, view, following, problem, start, stop, retry };
}

export type LiveSession = ReturnType<typeof followSession>;
