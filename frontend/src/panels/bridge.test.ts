import { afterEach, describe, expect, it, vi } from "vitest";
import { api } from "../api/client";
import { ProblemError } from "../api/problem";
import { type Bridge, bridge } from "./bridge";
import { type Connect, type Facts, type FromFrame, type Powers, type ToFrame, VERSION } from "./contract";
import { powersOf, routeOf } from "./powers";

const facts = { version: VERSION, plugin: "hello", place: "session", theme: "light" } as Facts;
let open: Bridge | undefined;
afterEach(() => {
  open?.close();
  document.body.replaceChildren();
});

/** A frame with a window that keeps what it is sent, and a bridge to it. */
function world(powers: Partial<Powers> = {}) {
  const frame = document.createElement("iframe");
  document.body.append(frame);
  const sent: Array<{ message: Connect; port: MessagePort }> = [];
  const inside = frame.contentWindow as Window;
  vi.spyOn(inside, "postMessage").mockImplementation(((
    message: Connect,
    _origin: string,
    ports: MessagePort[],
  ) => sent.push({ message, port: ports[0] as MessagePort })) as unknown as typeof inside.postMessage);
  const told = { ready: 0, failed: [] as string[], heights: [] as number[] };
  const all = { call: async () => null, suggest: async () => {}, ...powers } as Powers;
  open = bridge(
    frame,
    all,
    () => ({ facts, style: {} }),
    () => new Promise(() => {}),
    {
      onReady: () => {
        told.ready += 1;
      },
      onFailed: (reason) => told.failed.push(reason),
      onSize: (height) => told.heights.push(height),
    },
  );
  const greet = (given: Partial<MessageEventInit> = {}) =>
    window.dispatchEvent(
      new MessageEvent("message", {
        source: inside,
        origin: "null",
        data: { oqto: VERSION, kind: "hello" },
        ...given,
      }),
    );
  return { sent, told, greet };
}

async function ask(port: MessagePort, message: unknown): Promise<ToFrame> {
  const heard = new Promise<ToFrame>((resolve) => {
    port.onmessage = (event) => resolve(event.data as ToFrame);
  });
  port.postMessage(message);
  return heard;
}

function connected(powers: Partial<Powers> = {}): MessagePort {
  const { sent, greet } = world(powers);
  greet();
  return (sent[0] as { port: MessagePort }).port;
}

describe("who is connected", () => {
  it("is the window of this frame, by its opaque origin and our version", () => {
    const { sent, greet } = world();
    greet();
    expect(sent).toHaveLength(1);
    expect(sent[0]?.message).toMatchObject({ oqto: VERSION, kind: "connect", facts: { plugin: "hello" } });
  });

  it.each([
    ["another window", { source: window }],
    ["no window", { source: null }],
    ["a page of ours", { origin: "http://localhost:3000" }],
    ["a page of theirs", { origin: "https://example.org" }],
    ["another message", { data: { oqto: VERSION, kind: "ask" } }],
    ["no object", { data: "hello" }],
    ["nothing", { data: null }],
  ])("is not %s", (_name, given) => {
    const { sent, told, greet } = world();
    greet(given);
    expect(sent).toEqual([]);
    expect(told.failed).toEqual([]);
  });

  it("is not a frame of another version, and the person is told", () => {
    const { sent, told, greet } = world();
    greet({ data: { oqto: 2, kind: "hello" } });
    expect(sent).toEqual([]);
    expect(told.failed[0]).toContain("version 2");
  });

  it("is nobody any more once the bridge is closed", () => {
    const { sent, greet } = world();
    open?.close();
    greet();
    expect(sent).toEqual([]);
  });
});

describe("what a frame may ask", () => {
  it("is answered by its number", async () => {
    const port = connected({ call: async (method, path, body) => ({ method, path, body }) });
    const answer = await ask(port, { kind: "ask", id: 7, power: "call", arguments: ["POST", "x", { a: 1 }] });
    expect(answer).toEqual({ kind: "answer", id: 7, value: { method: "POST", path: "x", body: { a: 1 } } });
  });

  it.each(["constructor", "__proto__", "toString", "fetch", ""])("is not %s", async (power) => {
    const answer = await ask(connected(), { kind: "ask", id: 1, power, arguments: [] });
    expect(answer).toMatchObject({ kind: "refusal", id: 1 });
  });

  it("gets the server's refusal with its code, and nothing of the request", async () => {
    const problem = new ProblemError({ code: "forbidden", status: 403, detail: "no", instance: "r1" });
    const port = connected({ call: () => Promise.reject(problem) });
    const answer = await ask(port, { kind: "ask", id: 2, power: "call", arguments: ["GET", "x"] });
    expect(answer).toEqual({ kind: "refusal", id: 2, detail: "no", code: "forbidden", status: 403 });
  });

  it("is refused what cannot be sent back", async () => {
    const port = connected({ call: async () => () => {} });
    const answer = await ask(port, { kind: "ask", id: 3, power: "call", arguments: [] });
    expect(answer).toMatchObject({ kind: "refusal", id: 3 });
  });

  it("is at most sixteen things at a time", async () => {
    const port = connected({ call: () => new Promise(() => {}) });
    const refused = new Promise<ToFrame>((resolve) => {
      port.onmessage = (event) => resolve(event.data as ToFrame);
    });
    for (let id = 1; id <= 17; id++) port.postMessage({ kind: "ask", id, power: "call", arguments: [] });
    expect(await refused).toMatchObject({ kind: "refusal", id: 17 });
  });

  it("is only as high as a page can be", async () => {
    const { sent, told, greet } = world();
    greet();
    const { port } = sent[0] as { port: MessagePort };
    const sizes = [120, Number.NaN, -5, 1e9].map((height): FromFrame => ({ kind: "size", height }));
    for (const message of sizes) port.postMessage(message);
    await vi.waitFor(() => expect(told.heights).toEqual([120, 0, 4000]));
  });
});

describe("the routes that a panel reaches", () => {
  it.each([
    ["items", "/api/plugins/hello/items"],
    ["items?of=%2Fhome%2Fada", "/api/plugins/hello/items?of=%2Fhome%2Fada"],
    ["/items?x=1", "/api/plugins/hello/items?x=1"],
    ["//items", "/api/plugins/hello/items"],
    ["a/../items", "/api/plugins/hello/items"],
  ])("%s is its own", (path, route) => {
    expect(routeOf("hello", path)).toBe(route);
  });

  it.each([
    "../eavs/keys",
    "../../me",
    "/../../me",
    "..\\..\\me",
    "%2e%2e/eavs",
    "..%2feavs",
    "a/%2E%2E/%2E%2E/me",
    "https://example.org/",
    "javascript:alert(1)",
    "data:text/html,x",
    null,
    {},
  ])("%s is not", (path) => {
    expect(() => routeOf("hello", path)).toThrow(
      "a panel may call the routes below /api/plugins/hello/ only",
    );
  });

  it("are called with known methods and bodies of a sensible size", async () => {
    const called = vi.spyOn(api, "ofPlugin").mockResolvedValue("done");
    const powers = powersOf("hello", undefined);
    await expect(powers.call("GET", "items")).resolves.toBe("done");
    await expect(powers.call("CONNECT" as "GET", "items")).rejects.toThrow("CONNECT");
    await expect(powers.call("POST", "items", "x".repeat(1_000_001))).rejects.toThrow("too large");
    await expect(powers.suggest("hi")).rejects.toThrow("no message field");
    expect(called).toHaveBeenCalledTimes(1);
  });
});
