import { describe, expect, test } from "vitest";
import { admin } from "../../i18n/en-admin";
import { NOTHING, toQuery } from "./audit-filter";
import { aboutOf, moment, nameOf, plain } from "./audit-words";

describe("the filter", () => {
  test("asks for nothing when nothing is chosen", () => {
    expect(`${toQuery(NOTHING)}`).toBe("");
    expect(`${toQuery({ ...NOTHING, actor: "  " })}`).toBe("");
  });

  test("asks for whole days of the reader's clock", () => {
    const query = toQuery({ ...NOTHING, from: "2026-05-01", until: "2026-05-01" });
    const from = Number(query.get("since"));
    expect(new Date(from).getHours()).toBe(0);
    expect(Number(query.get("until")) - from).toBe(86_400_000 - 1);
    expect(toQuery({ ...NOTHING, from: "no day" }).has("since")).toBe(false);
  });
});

describe("a record in words", () => {
  const record = { ts: 0, event: "session.ended", prev: "", session: "ses_1", fields: { reason: "idle" } };

  test("names actions, and keeps the names of plugins", () => {
    expect(nameOf("session.ended")).toBe(admin["event.session.ended"]);
    expect(nameOf("weather.forecast_set")).toBe("weather.forecast_set");
  });

  test("says what it is about", () => {
    expect(aboutOf(record)).toBe("ses_1 · idle");
    expect(plain(["a", { b: 1 }])).toBe('a, {"b":1}');
  });

  test("shows the time on the reader's clock", () => {
    expect(moment(new Date(2026, 4, 1, 9, 5, 7).getTime())).toBe("2026-05-01 09:05:07");
  });
});
