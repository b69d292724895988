// The list of sessions: told by the server as it changes, asked for only when it cannot tell.
import { batch, createSignal } from "solid-js";
import { createStore, reconcile, unwrap } from "solid-js/store";
import { api } from "../api/client";
import type { SessionNews } from "../api/mux";
import { type ProblemError, toProblem } from "../api/problem";
import type { Session } from "../api/rest";

export type Loading = "loading" | "ready" | "failed";

/** How many are asked for first, and at most. */
const FIRST_SESSIONS = 100;
export const MOST_SESSIONS = 1000;

export const usedAt = (session: Session): number => session.last_active_at ?? session.created_at;

/** The list after the news. Rows keep the order in which they were made, so that none moves under a pointer. */
export function withNews(known: Session[], news: SessionNews): Session[] {
  const fresh = new Map(news.sessions.map((one) => [one.id, one]));
  const gone = new Set(news.gone);
  const isFull = news.all && news.sessions.length >= news.most;
  const edge = isFull ? Math.min(...news.sessions.map(usedAt)) : 0;
  const isKept = (one: Session) =>
    !fresh.has(one.id) && !gone.has(one.id) && (!news.all || (isFull && usedAt(one) < edge));
  return inOrder([...fresh.values(), ...known.filter(isKept)]);
}

const inOrder = (sessions: Session[]) => sessions.sort((a, b) => b.created_at - a.created_at);

export function createSessionList(onReached: () => void) {
  const [sessions, setSessions] = createStore<Session[]>([]);
  const [loading, setLoading] = createSignal<Loading>("loading");
  const [problem, setProblem] = createSignal<ProblemError | null>(null);
  const [limit, setLimit] = createSignal(FIRST_SESSIONS);

  const show = (all: Session[]) =>
    batch(() => {
      setSessions(reconcile(all, { key: "id" }));
      setProblem(null);
      setLoading("ready");
    });

  const take = (news: SessionNews) => show(withNews(unwrap(sessions), news));
  const put = (session: Session) => take({ sessions: [session], gone: [], all: false, most: 0 });

  const refresh = async () => {
    try {
      const fresh = await api.sessions(limit());
      onReached();
      show(inOrder(fresh));
    } catch (reason) {
      batch(() => {
        setProblem(toProblem(reason));
        if (loading() === "loading") setLoading("failed");
      });
    }
  };

  const refreshOne = async (id: string) => {
    await api.session(id).then(put, () => {});
  };

  const showOlder = async () => {
    setLimit(MOST_SESSIONS);
    await refresh();
  };
  const hasOlder = () => limit() === FIRST_SESSIONS && sessions.length >= FIRST_SESSIONS;

  const drop = (id: string) => setSessions((all) => all.filter((one) => one.id !== id));
  const find = (id: string) => sessions.find((one) => one.id === id);

  return { sessions, loading, problem, take, refresh, refreshOne, showOlder, hasOlder, put, drop, find };
}
