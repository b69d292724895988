// What is known once someone is signed in, shared by every screen.
import { batch, createContext, createSignal, onCleanup, useContext } from "solid-js";
import { api } from "../api/client";
import { type Connection, Mux } from "../api/mux";
import { type ProblemError, toProblem } from "../api/problem";
import type { Account, Features, ModelSource } from "../api/rest";
import type { Event } from "../api/types.gen";
import { createPanels } from "../panels/registry";
import { announce } from "../ui/announcer";
import { followSession, type LiveSession } from "./live";
import { milestone } from "./milestones";
import { createPost } from "./post";
import { createSessionList, type Loading } from "./sessions";

const KEPT_SESSIONS = 6;
/** How often the list is asked for: when the server cannot tell of changes, and in case something was missed. */
const CUT_OFF_MS = 8_000;
const TOLD_MS = 60_000;

export type Told = "asks" | "failed" | "ended" | null;

export interface AppOptions {
  account: Account;
  features: Features | null;
  onSignedOut(): void;
}

export function createApp({ account, features, onSignedOut }: AppOptions) {
  const [connection, setConnection] = createSignal<Connection>("stopped");
  const [retryAtMs, setRetryAtMs] = createSignal<number | null>(null);
  const [lostAtMs, setLostAtMs] = createSignal<number | null>(null);
  // What the events of the open session tell before the list knows, or what the list cannot know.
  const [told, setTold] = createSignal<{ id: string; told: Told } | null>(null);

  const mux = new Mux(
    {
      onConnection: (state, retryAt) =>
        batch(() => {
          setRetryAtMs(retryAt);
          if (state === "open") setLostAtMs(null);
          else setLostAtMs((since) => since ?? Date.now());
          setConnection(state);
          if (state === "open") post.deliverAll();
          else post.cut();
        }),
      onSessions: (news) => list.take(news),
      onBye: (code) => {
        if (code === "signed_out") onSignedOut();
      },
      onRefused: () => {
        api.authState().then(
          (state) => state.account === null && onSignedOut(),
          () => {},
        );
      },
    },
    {
      open: () => new WebSocket(muxUrl()),
      nowMs: () => Date.now(),
      random: () => Math.random(),
    },
  );
  const post = createPost(mux, account.id);
  const list = createSessionList(() => mux.connection === "waiting" && mux.hurry());
  const models = createModels();
  const panels = createPanels();
  const kept = new Map<string, LiveSession>();

  const follow = (id: string): LiveSession => {
    const live = kept.get(id) ?? followSession(mux, id, onEvent);
    kept.delete(id);
    kept.set(id, live);
    live.start();
    for (const [oldest, session] of kept) {
      if (kept.size <= KEPT_SESSIONS || oldest === id) break;
      session.stop();
      kept.delete(oldest);
    }
    return live;
  };

  const onEvent = (event: Event) => {
    const words = milestone(event);
    if (words) announce(words.text, words.isUrgent);
  };

  mux.start();
  // A hidden tab asks for nothing, and asks at once when somebody looks at it again.
  let askedMs = Date.now();
  const refreshIfDue = () => {
    const everyMs = mux.connection === "open" ? TOLD_MS : CUT_OFF_MS;
    if (document.visibilityState !== "visible" || Date.now() - askedMs < everyMs) return;
    askedMs = Date.now();
    void list.refresh();
  };
  const timer = setInterval(refreshIfDue, CUT_OFF_MS);
  document.addEventListener("visibilitychange", refreshIfDue);
  onCleanup(() => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", refreshIfDue);
    post.close();
    mux.stop();
  });

  const forget = (id: string) => {
    kept.get(id)?.stop();
    kept.delete(id);
    list.drop(id);
  };

  return {
    account,
    features,
    mux,
    post,
    list,
    models,
    panels,
    connection,
    retryAtMs,
    lostAtMs,
    follow,
    forget,
    toldOf: (id: string): Told => (told()?.id === id ? (told()?.told ?? null) : null),
    setTold,
    onSignedOut,
  };
}

export type App = ReturnType<typeof createApp>;

function createModels() {
  const [sources, setSources] = createSignal<ModelSource[]>([]);
  const [loading, setLoading] = createSignal<Loading>("loading");
  const [problem, setProblem] = createSignal<ProblemError | null>(null);

  const refresh = async () => {
    try {
      const fresh = await api.models();
      batch(() => {
        setSources(fresh);
        setProblem(null);
        setLoading("ready");
      });
    } catch (reason) {
      batch(() => {
        setProblem(toProblem(reason));
        setLoading("failed");
      });
    }
  };

  return { sources, loading, problem, refresh };
}

function muxUrl(): string {
  const scheme = window.location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${window.location.host}/api/ws/mux`;
}

const Context = createContext<App>();
export const AppProvider = Context.Provider;

export function useApp(): App {
  const app = useContext(Context);
  if (!app) throw new Error("useApp is for screens of a signed-in account");
  return app;
}
