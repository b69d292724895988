import type { Session } from "../../api/rest";
import { type Key, t } from "../../i18n";
import type { Told } from "../../state/app";

export interface Shown {
  dot: "working" | "ready" | "failed" | "waiting" | "off";
  text: string;
}

/** A session's state as a dot and a word, so that colour never stands alone. */
export function shownState(session: Facts, told: Told = null): Shown {
  const isNewer = told === "failed" ? session.state !== "starting" : session.state === "running";
  const [dot, key] = told && isNewer ? TOLD[told] : pick(session);
  return { dot, text: t(key) };
}

type Facts = Pick<Session, "state" | "agent_state" | "stop_reason">;

/** Its agent went by itself: by a crash, a signal, or with the machine. */
export const hasFailed = ({ state, stop_reason }: Pick<Session, "state" | "stop_reason">) =>
  state === "failed" || (state === "settled" && ["failed", "interrupted"].includes(stop_reason ?? ""));

const ASKS: [Shown["dot"], Key] = ["waiting", "state.question"];
const TOLD: Record<NonNullable<Told>, [Shown["dot"], Key]> = {
  asks: ASKS,
  failed: ["failed", "state.failed"],
  ended: ["off", "state.ended"],
};

function pick({ state, agent_state, stop_reason }: Facts): [Shown["dot"], Key] {
  if (state === "starting") return ["working", "state.starting"];
  if (state === "stopping") return ["waiting", "state.stopping"];
  if (state !== "running") return hasFailed({ state, stop_reason }) ? TOLD.failed : TOLD.ended;
  if (agent_state === "waiting") return ASKS;
  if (agent_state && agent_state !== "idle") return ["working", "state.working"];
  return ["ready", "state.ready"];
}

export const isAlive = (session: Pick<Session, "state">) =>
  session.state === "running" || session.state === "starting" || session.state === "stopping";
