import { expect, test } from "vitest";
import { lastDays } from "./days";

const row = (name: string, cost_nusd: number) => ({
  name,
  cost_nusd,
  calls: 1,
  input: 0,
  cache_read: 0,
  cache_write: 0,
  output: 0,
  estimated: 0,
});

test("every day has a bar, also one without calls, and the newest is last", () => {
  const days = lastDays([row("2026-02-27", 5), row("2026-03-01", 7)], 3, Date.UTC(2026, 2, 1, 23, 59));
  expect(days.map((day) => [day.name, day.cost_nusd])).toEqual([
    ["2026-02-27", 5],
    ["2026-02-28", 0],
    ["2026-03-01", 7],
  ]);
});

test("days that are too old have no bar", () => {
  expect(lastDays([row("2020-01-01", 5)], 2, Date.UTC(2026, 2, 1)).map((day) => day.cost_nusd)).toEqual([
    0, 0,
  ]);
});
