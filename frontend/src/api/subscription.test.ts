import { describe, expect, it } from "vitest";
import { ProblemError } from "./problem";
import { Subscription } from "./subscription";
import type { Event } from "./types.gen";

const event = (seq: number): Event => ({ event: "notify", seq, message: `${seq}` });
const resync: Event = { event: "stream.resync_required", oldest: 5 };

function follow() {
  const asked: number[] = [];
  const replies: Array<{ resolve(reply: unknown): void; reject(problem: ProblemError): void }> = [];
  const taken: number[] = [];
  const told: string[] = [];
  const sink = {
    after: () => taken.at(-1) ?? 0,
    onEvents: (events: Event[]) => taken.push(...events.map((one) => one.seq ?? 0)),
    onReset: () => {
      told.push("reset");
      taken.length = 0;
    },
    onLive: (last: number) => told.push(`live ${last}`),
    onFailed: (problem: ProblemError) => told.push(`failed ${problem.code}`),
  };
  const subscription = new Subscription(sink, (after) => {
    asked.push(after);
    return new Promise((resolve, reject) => replies.push({ resolve, reject }));
  });
  const reply = async (mode: "exact" | "snapshot", last: number, reset = false) => {
    replies.shift()?.resolve({ mode, last, reset });
    await Promise.resolve();
    await Promise.resolve();
  };
  const refuse = async (problem: ProblemError) => {
    replies.shift()?.reject(problem);
    await Promise.resolve();
    await Promise.resolve();
  };
  return { subscription, asked, taken, told, reply, refuse };
}

describe("a followed session", () => {
  it("takes events in order and asks from the highest after a cut", async () => {
    const { subscription, asked, taken, reply } = follow();
    subscription.connect();
    await reply("exact", 2);
    for (const seq of [1, 2, 3]) subscription.receive(event(seq));
    subscription.disconnected();
    subscription.receive(event(4));
    subscription.connect();
    await reply("exact", 5);
    for (const seq of [4, 5]) subscription.receive(event(seq));
    expect(asked).toEqual([0, 3]);
    expect(taken).toEqual([1, 2, 3, 4, 5]);
  });

  it("keeps events that overtake the reply, and drops what it already has", async () => {
    const { subscription, taken, reply } = follow();
    subscription.connect();
    subscription.receive(event(1));
    subscription.receive(event(2));
    expect(taken).toEqual([]);
    await reply("exact", 2);
    subscription.receive(event(2));
    expect(taken).toEqual([1, 2]);
  });

  it("asks again when an event is missing, and takes nothing meanwhile", async () => {
    const { subscription, asked, taken, reply } = follow();
    subscription.connect();
    await reply("exact", 1);
    subscription.receive(event(1));
    subscription.receive(event(3));
    expect(asked).toEqual([0, 1]);
    await reply("exact", 3);
    for (const seq of [2, 3]) subscription.receive(event(seq));
    expect(taken).toEqual([1, 2, 3]);
  });

  it("allows holes in a snapshot up to its end and none after", async () => {
    const { subscription, asked, taken, reply } = follow();
    subscription.connect();
    await reply("snapshot", 9, true);
    for (const seq of [1, 4, 9, 10]) subscription.receive(event(seq));
    expect(taken).toEqual([1, 4, 9, 10]);
    subscription.receive(event(12));
    expect(asked).toEqual([0, 10]);
  });

  it("forgets the view when told, and takes the snapshot that follows on the same subscription", async () => {
    const { subscription, taken, told, reply } = follow();
    subscription.connect();
    await reply("exact", 2);
    for (const seq of [1, 2]) subscription.receive(event(seq));
    subscription.receive(resync);
    for (const seq of [5, 8, 9]) subscription.receive(event(seq));
    expect(told).toEqual(["live 2", "reset"]);
    expect(taken).toEqual([5, 8, 9]);
  });

  it("ignores the reply of a subscription that was cut meanwhile", async () => {
    const { subscription, told, reply } = follow();
    subscription.connect();
    subscription.disconnected();
    await reply("snapshot", 4, true);
    expect(told).toEqual([]);
  });

  it("tells why it cannot follow", async () => {
    const { subscription, told, refuse } = follow();
    subscription.connect();
    await refuse(new ProblemError({ code: "not-found", status: 404 }));
    expect(told).toEqual(["failed not-found"]);
  });
});
