// Logs of real sessions, and what the server makes of them for someone who comes later.
import { readFileSync } from "node:fs";
import type { Event } from "../api/types.gen";

export function recorded(name: "demo" | "echo" | "reordered"): Event[] {
  const lines = readFileSync(`${import.meta.dirname}/logs/${name}.jsonl`, "utf8")
    .trim()
    .split("\n");
  return lines.map((line) => JSON.parse(line) as Event);
}

const OF_MESSAGES = new Set(["stream.text_delta", "stream.thinking_delta", "stream.tool_call_delta"]);

/** The log without the pieces of what has ended, as `subscribe` answers with mode `snapshot`. */
export function snapshot(log: Event[]): Event[] {
  const ended = new Set<string>();
  for (const event of log) {
    if (event.event === "stream.message_end") ended.add(event.message.id);
    if (event.event === "tool.end") ended.add(event.tool_call_id);
  }
  return log.filter((event) => {
    if (event.event === "tool.progress") return !ended.has(event.tool_call_id);
    return !(OF_MESSAGES.has(event.event) && "message_id" in event && ended.has(event.message_id));
  });
}
