import { expect, test } from "vitest";
import type { Features, Session } from "../api/rest";
import { landing } from "./attach";

const session = (id: string, more: Partial<Session> = {}): Session =>
  ({ id, state: "stopped", stop_reason: "idle", created_at: 1, last_active_at: 1, ...more }) as Session;
const features = (auto_attach: string, auto_attach_scan = true): Features =>
  ({ auto_attach, auto_attach_scan }) as Features;

const runs = session("runs", { state: "running", stop_reason: "", last_active_at: 5 });
const other = session("other", { state: "running", stop_reason: "", last_active_at: 9 });
const idle = session("idle", { last_active_at: 7 });

test.each([
  ["off", [runs], null, null],
  ["attach", [runs, other], null, "other"],
  ["attach", [runs, other], "runs", "runs"],
  ["attach", [idle], null, null],
  ["resume", [idle], null, "idle, resumed"],
  ["resume", [runs, idle], null, "runs"],
  ["on", [runs, idle], null, "runs"],
  ["on", [idle, session("older")], null, "idle, resumed"],
  ["on", [session("asked", { stop_reason: "asked" })], null, null],
  ["on", [session("broke", { state: "failed", stop_reason: "failed" })], null, null],
  ["on", [], null, null],
] as const)("%s with %j after %s", (mode, sessions, last, expected) => {
  const found = landing(features(mode), [...sessions], last);
  expect(found && `${found.session.id}${found.resume ? ", resumed" : ""}`).toBe(expected);
});

test("without a scan, only the session that was shown last counts", () => {
  expect(landing(features("on", false), [runs], null)).toBe(null);
  expect(landing(features("on", false), [runs, other], "runs")?.session.id).toBe("runs");
});

test("a server that says nothing sends nobody anywhere", () => {
  expect(landing(null, [runs], null)).toBe(null);
});
