import type { UsageRow } from "../../api/budget";

const DAY_MS = 86_400_000;
const EMPTY = { calls: 0, cost_nusd: 0, input: 0, cache_read: 0, cache_write: 0, output: 0, estimated: 0 };

/** The last `count` days of UTC, the newest last, each with its row or an empty one. */
export function lastDays(rows: UsageRow[], count: number, nowMs: number): UsageRow[] {
  const known = new Map(rows.map((row) => [row.name, row]));
  return Array.from({ length: count }, (_, index) => {
    const name = new Date(nowMs - (count - 1 - index) * DAY_MS).toISOString().slice(0, 10);
    return known.get(name) ?? { name, ...EMPTY };
  });
}
