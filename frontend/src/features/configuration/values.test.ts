import { describe, expect, test } from "vitest";
import type { KeyView } from "../../api/types.gen";
import { fromText, groups, inFile, lockOf, matching, toText } from "./values";

const key = (more: Partial<KeyView>): KeyView => ({
  name: "sessions.idle_timeout_minutes",
  type: "integer",
  description: "Minutes without activity.",
  value: 30,
  default: 30,
  wanted: null,
  origin: "default",
  restart: false,
  is_pending: false,
  needs: "",
  choices: [],
  minimum: 1,
  maximum: null,
  ...more,
});

describe("what is typed", () => {
  test.each([
    ["integer", "45", 45],
    ["integer", " ", null],
    ["integer", "many", "many"],
    ["number", "0.5", 0.5],
    ["text", "  ~/work ", "~/work"],
    ["list", "https://a.example\n\n https://b.example ", ["https://a.example", "https://b.example"]],
    ["choice", "on", "on"],
  ] as const)("%s %j stands for %j", (type, text, value) => {
    expect(fromText(key({ type }), text)).toEqual(value);
  });

  test("a value and its text are the same thing", () => {
    for (const [type, value] of [
      ["integer", 7],
      ["list", ["a", "b"]],
      ["text", "x"],
    ] as const) {
      const one = key({ type });
      expect(fromText(one, toText(one, value))).toEqual(value);
    }
    expect(toText(key({}), null)).toBe("");
  });
});

test("keys are grouped by section, in their order", () => {
  const keys = ["local.enabled", "local.linux_users.shell", "local.single_user"].map((name) => key({ name }));
  expect(groups(keys).map((group) => [group.name, group.keys.length])).toEqual([
    ["local", 2],
    ["local.linux_users", 1],
  ]);
});

test("a search looks at names and meanings", () => {
  const keys = [key({}), key({ name: "server.listen", description: "host:port" })];
  expect(matching(keys, "idle minutes")).toEqual([keys[0]]);
  expect(matching(keys, "HOST")).toEqual([keys[1]]);
  expect(matching(keys, "")).toEqual(keys);
});

test("what is set elsewhere is changed there", () => {
  const file = "/etc/oqto/config.toml";
  expect(lockOf(key({}), file)).toBe(null);
  expect(lockOf(key({ origin: file }), file)).toBe(null);
  expect(lockOf(key({ origin: "OQTO__SESSIONS__IDLE_TIMEOUT_MINUTES" }), file)).toBe("variable");
  expect(lockOf(key({ origin: "command line" }), file)).toBe("flag");
  expect(lockOf(key({ origin: "/etc/oqto/config.work.toml" }), file)).toBe("profile");
  expect(lockOf(key({ type: "table" }), file)).toBe("table");
  expect(lockOf(key({ needs: "container sessions" }), file)).toBe("needs");
});

test("a key that waits shows what it waits for", () => {
  expect(inFile(key({ is_pending: true, wanted: 5 }))).toBe(5);
  expect(inFile(key({}))).toBe(30);
});
