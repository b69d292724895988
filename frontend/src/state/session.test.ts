import { describe, expect, it } from "vitest";
import type { Event, Message } from "../api/types.gen";
import { apply, fold } from "./session";
import { emptyView, type MessageItem, type NoticeItem } from "./view";

const PASSING = new Set([
  "stream.text_delta",
  "stream.thinking_delta",
  "stream.tool_call_delta",
  "tool.progress",
]);

/** Pseudo-random numbers that are the same in every run. */
function numbers(seed: number) {
  let state = seed;
  return (below: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * below);
  };
}

type Unnumbered = Event extends infer E ? (E extends Event ? Omit<E, "seq" | "ts"> : never) : never;

/** A conversation as an agent would log it; the last turn may be cut off anywhere. */
function conversation(seed: number): Event[] {
  const below = numbers(seed);
  const events: Event[] = [];
  const say = (event: Unnumbered) => {
    const seq = events.length + 1;
    events.push({ ...event, seq, ts: 1_000_000 + seq * 10 } as Event);
  };
  say({
    event: "session.created",
    harness: "pi",
    provider: "demo",
    model: "demo",
    capabilities: { steer: true },
  });
  const turns = 1 + below(4);
  for (let turn = 0; turn < turns; turn++) {
    say({ event: "stream.message_end", message: userMessage(`u${turn}`, `client-${turn}`) });
    say({ event: "agent.working" });
    if (below(3) === 0) retry(say);
    for (let part = 0; part <= below(3); part++) answer(say, below, `a${turn}-${part}`);
    if (below(4) === 0) say({ event: "queue.changed", steering: ["and the docs"] });
    say({ event: "agent.idle", stop_reason: below(3) === 0 ? "aborted" : "stop" });
  }
  if (below(3) === 0)
    say({ event: "session.closed", reason: "idle", detail: "Nobody was here for an hour." });
  return below(2) ? events.slice(0, 1 + below(events.length)) : events;
}

function userMessage(id: string, clientId: string): Message {
  return {
    id,
    role: "user",
    client_id: clientId,
    parts: [{ type: "text", text: `Hello from ${id}` }],
    created_at: 5,
  };
}

function retry(say: (event: Unnumbered) => void) {
  say({ event: "retry.start", attempt: 1, max_attempts: 3, delay_ms: 2000, error: "529" });
  say({ event: "retry.start", attempt: 2, max_attempts: 3, delay_ms: 4000, error: "529" });
  say({ event: "retry.end", success: true, attempt: 2 });
}

function answer(say: (event: Unnumbered) => void, below: (n: number) => number, id: string) {
  const words = Array.from({ length: 1 + below(6) }, (_, at) => `word${at} `);
  const call = `${id}-call`;
  const hasTool = below(2) === 0;
  say({ event: "stream.message_start", message_id: id, role: "assistant" });
  say({ event: "stream.thinking_delta", message_id: id, delta: "hm", content_index: 0 });
  for (const delta of words) say({ event: "stream.text_delta", message_id: id, delta, content_index: 1 });
  if (hasTool) {
    say({
      event: "stream.tool_call_start",
      message_id: id,
      tool_call_id: call,
      name: "bash",
      content_index: 2,
    });
    say({
      event: "stream.tool_call_delta",
      message_id: id,
      tool_call_id: call,
      delta: '{"command":',
      content_index: 2,
    });
    say({
      event: "stream.tool_call_end",
      message_id: id,
      tool_call_id: call,
      name: "bash",
      input: { command: "ls" },
      content_index: 2,
    });
  }
  const parts: Message["parts"] = [
    { type: "thinking", text: "hm" },
    { type: "text", text: words.join("") },
  ];
  if (hasTool) parts.push({ type: "tool_call", toolCallId: call, name: "bash", input: { command: "ls" } });
  say({
    event: "stream.message_end",
    message: { id, role: "assistant", parts, usage: { output_tokens: 7, cost_usd: 0.5 } },
  });
  if (!hasTool) return;
  say({ event: "tool.start", tool_call_id: call, name: "bash", input: { command: "ls" } });
  say({ event: "tool.progress", tool_call_id: call, name: "bash", partial_output: "a" });
  say({ event: "tool.end", tool_call_id: call, name: "bash", output: "a\nb", duration_ms: 12 });
}

/** The log as the server tells it in snapshot mode: passing events of what has ended are left out. */
function snapshot(events: Event[]): Event[] {
  const ended = new Set<string>();
  for (const event of events) {
    if (event.event === "stream.message_end") ended.add(event.message.id);
    if (event.event === "tool.end") ended.add(event.tool_call_id);
  }
  return events.filter((event) => {
    if (!PASSING.has(event.event)) return true;
    if (event.event === "tool.progress") return !ended.has(event.tool_call_id);
    return !("message_id" in event && ended.has(event.message_id));
  });
}

const SEEDS = Array.from({ length: 120 }, (_, at) => at + 1);

describe("the view of a session", () => {
  it("is the same after a cut at any event, told exactly", () => {
    for (const seed of SEEDS) {
      const events = conversation(seed);
      const cut = numbers(seed + 7)(events.length);
      const view = fold(events.slice(0, cut));
      fold(events.slice(cut), view);
      expect(view).toEqual(fold(events));
    }
  });

  it("is the same when it is told as a snapshot", () => {
    for (const seed of SEEDS) {
      const events = conversation(seed);
      const view = fold(snapshot(events));
      expect({ ...view, seq: 0 }).toEqual({ ...fold(events), seq: 0 });
    }
  });

  it("is the same after a resync, whatever was shown before", () => {
    for (const seed of SEEDS) {
      const events = conversation(seed);
      const view = fold(events.slice(0, numbers(seed)(events.length)));
      apply(view, { event: "stream.resync_required", oldest: 1 });
      expect(view).toEqual(emptyView());
      fold(snapshot(events), view);
      expect({ ...view, seq: 0 }).toEqual({ ...fold(events), seq: 0 });
    }
  });

  it("shows nothing as running once a turn is over", () => {
    for (const seed of SEEDS) {
      const view = fold([...conversation(seed), { event: "agent.idle", seq: 9999, ts: 9_000_000 }]);
      const states = Object.values(view.tools).map((tool) => tool.state);
      expect(states).not.toContain("running");
      expect(states).not.toContain("preparing");
      expect(view.items.some((item) => item.type === "message" && item.isStreaming)).toBe(false);
      expect(view.isWorking).toBe(false);
    }
  });
});

describe("single events", () => {
  it("a whole message replaces what was streamed, and counts its cost once", () => {
    const end: Event = {
      event: "stream.message_end",
      message: {
        id: "a",
        role: "assistant",
        parts: [{ type: "text", text: "whole" }],
        usage: { cost_usd: 0.25 },
      },
    };
    const view = fold([{ event: "stream.text_delta", message_id: "a", delta: "ha" }, end, end]);
    expect(view.items).toHaveLength(1);
    expect((view.items[0] as MessageItem).parts).toEqual([{ kind: "text", index: 0, text: "whole" }]);
    expect(view.costUsd).toBe(0.25);
  });

  it("results in a message of role tool become the output of their tools, not a message", () => {
    const view = fold([
      {
        event: "stream.message_end",
        message: {
          id: "t",
          role: "tool",
          parts: [{ type: "tool_result", toolCallId: "c", name: "bash", output: "x", isError: true }],
        },
      },
    ]);
    expect(view.items).toEqual([]);
    expect(view.tools.c).toMatchObject({ state: "error", output: "x" });
  });

  it("questions open and close by their id", () => {
    const view = fold([
      { event: "agent.input_needed", request: { type: "confirm", request_id: "q1", title: "Sure?" }, ts: 5 },
      { event: "agent.input_needed", request: { type: "input", request_id: "q2", title: "Name?" }, ts: 6 },
      { event: "agent.input_resolved", request_id: "q1", reason: "timeout" },
    ]);
    expect(view.questions.map((question) => question.request.request_id)).toEqual(["q2"]);
  });

  it("one notice tells a whole series of tries", () => {
    const view = fold([
      { event: "retry.start", attempt: 1, max_attempts: 3, delay_ms: 1000, seq: 1, ts: 100 },
      { event: "retry.start", attempt: 2, max_attempts: 3, delay_ms: 2000, seq: 2, ts: 2000 },
      { event: "retry.end", success: false, attempt: 2, final_error: "529", seq: 3 },
    ]);
    expect(view.items).toHaveLength(1);
    expect(view.items[0]).toMatchObject({
      attempt: 2,
      untilMs: 4000,
      isOpen: false,
      isFailed: true,
      detail: "529",
    });
  });

  it("an ended session keeps its reason until it is created again", () => {
    const view = fold([
      { event: "agent.working", seq: 1 },
      { event: "session.closed", reason: "crashed", detail: "Out of memory.", exit_code: 137, seq: 2 },
    ]);
    expect(view.closed).toMatchObject({ detail: "Out of memory.", exitCode: 137 });
    expect(view.isWorking).toBe(false);
    fold([{ event: "session.created", harness: "pi", resumed: true, seq: 3 }], view);
    expect(view.closed).toBeNull();
    expect(view.items.map((item) => (item as NoticeItem).notice)).toEqual(["closed", "resumed"]);
  });

  it("denials that follow each other share a card", () => {
    const denied = (target: string, seq: number): Event => ({
      event: "access.denied",
      kind: "path",
      target,
      sentence: `${target} is hidden.`,
      rule: "deny_read: ~/.ssh",
      seq,
    });
    const view = fold([
      denied("~/.ssh/id_rsa", 1),
      denied("~/.ssh/config", 2),
      { event: "stream.message_end", message: userMessage("u1", "c1"), seq: 3 },
      denied("~/.aws", 4),
    ]);
    const cards = view.items.filter((item): item is NoticeItem => item.type === "notice");
    expect(cards.map((card) => card.denials.map((one) => one.target))).toEqual([
      ["~/.ssh/id_rsa", "~/.ssh/config"],
      ["~/.aws"],
    ]);
  });

  it("another conversation replaces what is shown", () => {
    const view = fold([
      { event: "stream.message_end", message: userMessage("u1", "c1") },
      { event: "session.conversation_changed", cause: "fork", messages: [userMessage("u0", "c0")], seq: 2 },
    ]);
    expect(view.items.map((item) => item.id)).toEqual(["u0", "n2"]);
  });

  it("a kind of event that is not known changes nothing but the place in the log", () => {
    const view = fold([{ event: "future.thing", seq: 4 } as unknown as Event]);
    expect(view).toEqual({ ...emptyView(), seq: 4 });
  });
});
