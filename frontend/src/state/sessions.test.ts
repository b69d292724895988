import { describe, expect, it } from "vitest";
import type { Session } from "../api/rest";
import { withNews } from "./sessions";

const made = (id: string, created_at: number, fields: Partial<Session> = {}) =>
  ({ id, created_at, last_active_at: null, title: "", ...fields }) as Session;
const news = (fields: Partial<Parameters<typeof withNews>[1]>) => ({
  sessions: [],
  gone: [],
  all: false,
  most: 3,
  ...fields,
});
const ids = (sessions: Session[]) => sessions.map((one) => one.id);

describe("the list of sessions", () => {
  const known = [made("c", 3), made("b", 2), made("a", 1)];

  it("takes changes in their places, new ones first, and lets go what is gone", () => {
    const fresh = [made("a", 1, { title: "new", last_active_at: 9 }), made("d", 4)];
    const now = withNews(known, news({ sessions: fresh, gone: ["b"] }));
    expect(ids(now)).toEqual(["d", "c", "a"]);
    expect(now[2]?.title).toBe("new");
  });

  it("after a cut, forgets what was deleted meanwhile", () => {
    expect(ids(withNews(known, news({ all: true, sessions: [made("c", 3), made("a", 1)] })))).toEqual([
      "c",
      "a",
    ]);
  });

  it("keeps older ones that a full list has no room for", () => {
    const full = [made("e", 6), made("d", 5), made("c", 3)];
    expect(ids(withNews(known, news({ all: true, sessions: full })))).toEqual(["e", "d", "c", "b", "a"]);
  });
});
