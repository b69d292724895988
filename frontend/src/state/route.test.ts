import { describe, expect, it } from "vitest";
import { newPath, parseRoute, sessionPath } from "./route";

describe("addresses", () => {
  it.each([
    ["", { page: "home" }],
    ["#/", { page: "home" }],
    ["#/setup/abc-_123", { page: "setup", token: "abc-_123" }],
    ["#/setup", { page: "home" }],
    ["#/session/ses_1", { page: "session", id: "ses_1" }],
    ["#/models", { page: "models" }],
    ["#/account", { page: "account" }],
    ["#/nonsense/%E0%A4%A", { page: "home" }],
  ])("%s", (hash, route) => {
    expect(parseRoute(hash)).toEqual(route);
  });

  it("carry a folder and a session there and back", () => {
    const folder = "/home/ada/100% über/#1";
    expect(parseRoute(newPath(folder))).toEqual({ page: "new", path: folder });
    expect(parseRoute(sessionPath("a/b"))).toEqual({ page: "session", id: "a/b" });
  });
});
