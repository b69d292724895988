// Where somebody who opens the bare address goes: `sessions.auto_attach` of the configuration.
import type { Features, Session } from "../api/rest";
import { load, save } from "./storage";

export type Landing = { session: Session; resume: boolean } | null;

const KEY = "oqto.last-session";
/** A session that was stopped on purpose, or that broke, is not started again by looking at the page. */
const RESUMED = new Set(["idle", "shutdown", "interrupted"]);

export const remember = (account: string, session: string) => save(`${KEY}.${account}`, session);
export const remembered = (account: string): string | null => load(`${KEY}.${account}`);

/**
 * `attach` goes to a session that runs; `resume` also starts the last one again; `on` is both. Without
 * `auto_attach_scan` only the session that this browser showed last counts.
 */
export function landing(features: Features | null, sessions: Session[], last: string | null): Landing {
  const mode = features?.auto_attach ?? "off";
  if (mode === "off") return null;
  const scans = features?.auto_attach_scan !== false;
  const known = sessions.filter((session) => scans || session.id === last);
  const newest = [...known].sort((a, b) => activeAt(b) - activeAt(a));
  const runs = newest.find((session) => session.state === "running");
  if (runs)
    return {
      session: newest.find((one) => one.id === last && one.state === "running") ?? runs,
      resume: false,
    };
  const ended = newest[0];
  const mayResume = mode !== "attach" && ended !== undefined && RESUMED.has(ended.stop_reason);
  return mayResume ? { session: ended, resume: true } : null;
}

const activeAt = (session: Session): number => session.last_active_at ?? session.created_at;
