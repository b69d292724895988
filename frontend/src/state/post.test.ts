import { beforeEach, describe, expect, it, vi } from "vitest";
import type { Mux } from "../api/mux";
import { ProblemError, unreachable } from "../api/problem";
import { isQueued } from "./outbox";
import { createPost } from "./post";

type Sent = {
  cmd: string;
  fields: Record<string, unknown>;
  resolve(): void;
  reject(problem: ProblemError): void;
};

function line() {
  const sent: Sent[] = [];
  const mux = {
    connection: "open",
    command: (_session: string, cmd: string, fields: Record<string, unknown>) =>
      new Promise<void>((resolve, reject) => sent.push({ cmd, fields, resolve, reject })),
  };
  return { sent, mux, post: createPost(mux as unknown as Mux, "acc_1") };
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 0));
const texts = (sent: Sent[]) => sent.map((one) => one.fields.message);

beforeEach(() => localStorage.clear());

describe("messages on their way", () => {
  it("go out one after the other, in the order they were written", async () => {
    const { post, sent } = line();
    post.send("ses_1", "prompt", "one", []);
    post.send("ses_1", "prompt", "two", []);
    expect(texts(sent)).toEqual(["one"]);
    sent[0]?.resolve();
    await settle();
    expect(texts(sent)).toEqual(["one", "two"]);
  });

  it("are shown in one place only: the queue, as soon as the agent tells of them there", () => {
    const { post } = line();
    const steer = post.send("ses_1", "steer", "hurry", []);
    expect(isQueued(steer, [])).toBe(false);
    expect(isQueued(steer, ["hurry"])).toBe(true);
    expect(isQueued(post.send("ses_1", "prompt", "hurry", []), ["hurry"])).toBe(false);
  });

  it("survive the tab until the server has them, and go again with the same id", async () => {
    const first = line();
    first.post.send("ses_1", "prompt", "do not lose me", []);
    const second = line();
    second.post.deliverAll();
    expect(second.sent[0]?.fields).toEqual(first.sent[0]?.fields);
    second.sent[0]?.resolve();
    await settle();
    expect(line().post.outbox()).toEqual([]);
  });

  it("wait without a connection and leave when it is back", async () => {
    const { post, sent, mux } = line();
    mux.connection = "waiting";
    post.send("ses_1", "prompt", "later", []);
    expect(sent).toEqual([]);
    mux.connection = "open";
    post.deliverAll();
    expect(texts(sent)).toEqual(["later"]);
  });

  it("go again after a cut that left their fate unknown", async () => {
    const { post, sent } = line();
    post.send("ses_1", "prompt", "maybe", []);
    sent[0]?.reject(unreachable());
    await settle();
    expect(post.outbox()[0]).toMatchObject({ delivery: "waiting" });
    post.deliverAll();
    expect(sent[1]?.fields.client_id).toBe(sent[0]?.fields.client_id);
  });

  it("are kept with the reason when the server refuses them", async () => {
    const { post, sent } = line();
    const letter = post.send("ses_1", "prompt", "too dear", []);
    sent[0]?.reject(
      new ProblemError({ code: "budget-exceeded", status: 402, detail: "The limit of $5 is reached." }),
    );
    await settle();
    expect(post.outbox()[0]).toMatchObject({ delivery: "failed", problem: "The limit of $5 is reached." });
    expect(line().post.outbox()).toHaveLength(1);
    post.retry({ ...letter });
    expect(texts(sent)).toEqual(["too dear", "too dear"]);
  });

  it("are told to be in this tab only when the browser's store is full", () => {
    const { post } = line();
    vi.spyOn(Storage.prototype, "setItem").mockImplementation(() => {
      throw new DOMException("full", "QuotaExceededError");
    });
    post.send("ses_1", "prompt", "big", [{ data: "x".repeat(100), media_type: "image/png" }]);
    expect(post.outbox()[0]).toMatchObject({ text: "big", isStored: false });
  });

  it("belong to one account", () => {
    const { post } = line();
    post.send("ses_1", "prompt", "private", []);
    const other = createPost({ connection: "waiting" } as unknown as Mux, "acc_2");
    expect(other.outbox()).toEqual([]);
  });
});
