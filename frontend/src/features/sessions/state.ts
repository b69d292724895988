import type { Session } from "../../api/rest";
import { type Key, t } from "../../i18n";
import type { Told } from "../../state/app";

export interface Shown {
  dot: "working" | "ready" | "failed" | "waiting" | "off";
  text: string;
}

/** A session's state as a dot and a word, so that colour never stands alone. */
export function shownState(session: Pick<Session, "state" | "agent_state">, told: Told = null): Shown {
  const [dot, key] = told && session.state === "running" ? TOLD[told] : pick(session);
  return { dot, text: t(key) };
}

const ASKS: [Shown["dot"], Key] = ["waiting", "state.question"];
const TOLD: Record<NonNullable<Told>, [Shown["dot"], Key]> = {
  asks: ASKS,
  failed: ["failed", "state.failed"],
  ended: ["off", "state.ended"],
};

function pick({ state, agent_state }: Pick<Session, "state" | "agent_state">): [Shown["dot"], Key] {
  if (state === "starting") return ["working", "state.starting"];
  if (state === "stopping") return ["waiting", "state.stopping"];
  if (state === "failed") return ["failed", "state.failed"];
  if (state !== "running") return ["off", "state.ended"];
  if (agent_state === "waiting" || agent_state === "input_needed") return ASKS;
  if (agent_state && agent_state !== "idle") return ["working", "state.working"];
  return ["ready", "state.ready"];
}

export const isAlive = (session: Pick<Session, "state">) =>
  session.state === "running" || session.state === "starting" || session.state === "stopping";
