// How messages and their tools grow: deltas first, then the whole message, which replaces them.
import type { Message, MessageUsage, Part } from "../api/types.gen";
import type { MessageItem, PartView, SessionView, ToolState, ToolView } from "./view";

export function openMessage(
  view: SessionView,
  id: string,
  role: MessageItem["role"],
  createdMs: number,
): MessageItem {
  const known = findMessage(view, id);
  if (known) return known;
  view.places[id] = view.items.length;
  view.items.push({
    type: "message",
    id,
    role,
    parts: [],
    isStreaming: true,
    createdMs,
    clientId: null,
    stopReason: null,
    model: "",
    costUsd: 0,
  });
  return view.items[view.items.length - 1] as MessageItem;
}

function findMessage(view: SessionView, id: string): MessageItem | null {
  const place = view.places[id];
  return place === undefined ? null : (view.items[place] as MessageItem);
}

/** The part that a delta belongs to, made when it is the first of its kind at that index. */
export function openPart(message: MessageItem, index: number, fresh: PartView): PartView {
  const known = message.parts.find(
    (part) => part.index === index && part.kind === fresh.kind && toolIdOf(part) === toolIdOf(fresh),
  );
  if (known) return known;
  message.parts.push(fresh);
  return message.parts[message.parts.length - 1] as PartView;
}

const toolIdOf = (part: PartView) => (part.kind === "tool" ? part.toolId : "");

/**
 * The parts of a whole message in its own order. What was shown as it grew stays the same object, and an object
 * never becomes a part of another kind, so that what the reader has opened or selected stays as it is.
 */
function keepParts(shown: PartView[], whole: PartView[]): PartView[] {
  const left = [...shown];
  return whole.map((part) => {
    const at = left.findIndex((known) => known.kind === part.kind && toolIdOf(known) === toolIdOf(part));
    const [known] = at < 0 ? [] : left.splice(at, 1);
    return known ? Object.assign(known, part) : part;
  });
}

export function openTool(view: SessionView, id: string, name: string): ToolView {
  view.tools[id] ??= {
    id,
    name,
    input: null,
    inputText: "",
    state: "preparing",
    output: null,
    startedMs: 0,
    durationMs: null,
  };
  const tool = view.tools[id] as ToolView;
  if (name) tool.name = name;
  return tool;
}

/** Takes a complete message: shown, or, for a tool's message, kept as the output of its tools. */
export function takeMessage(view: SessionView, message: Message): void {
  const parts = message.parts ?? [];
  for (const part of parts) takeToolPart(view, part);
  if (message.role === "tool") return;
  const item = openMessage(view, message.id, message.role, message.created_at ?? 0);
  view.costUsd += costOf(message.usage) - item.costUsd;
  view.contextTokens = tokensOf(message.usage) || view.contextTokens;
  item.parts = keepParts(
    item.parts,
    parts.flatMap((part, index) => toPartView(part, index) ?? []),
  );
  item.isStreaming = false;
  item.role = message.role;
  item.createdMs = message.created_at || item.createdMs;
  item.clientId = message.client_id ?? null;
  item.stopReason = message.stop_reason ?? null;
  item.model = message.model ?? "";
  item.costUsd = costOf(message.usage);
  if (message.client_id) view.clientIds[message.client_id] = true;
}

const costOf = (usage: MessageUsage | null | undefined) => usage?.cost_usd ?? 0;

function tokensOf(usage: MessageUsage | null | undefined): number {
  if (!usage) return 0;
  const { input_tokens = 0, output_tokens = 0, cache_read_tokens = 0, cache_write_tokens = 0 } = usage;
  return input_tokens + output_tokens + cache_read_tokens + cache_write_tokens;
}

function takeToolPart(view: SessionView, part: Part): void {
  if (part.type === "tool_call") {
    const tool = openTool(view, part.toolCallId, part.name);
    tool.input = part.input ?? null;
    tool.inputText = "";
  } else if (part.type === "tool_result") {
    const tool = openTool(view, part.toolCallId, part.name ?? "");
    endTool(tool, part.isError ? "error" : "success", part.output, part.durationMs ?? tool.durationMs);
  }
}

export function endTool(tool: ToolView, state: ToolState, output: unknown, durationMs: number | null): void {
  tool.state = state;
  tool.output = output ?? null;
  tool.durationMs = durationMs;
}

function toPartView(part: Part, index: number): PartView | null {
  switch (part.type) {
    case "text":
      return { kind: "text", index, text: part.text };
    case "thinking":
      return { kind: "thinking", index, text: part.text };
    case "tool_call":
      return { kind: "tool", index, toolId: part.toolCallId };
    case "image":
      return { kind: "image", index, data: part.data, mimeType: part.mimeType, alt: part.alt ?? "" };
    case "tool_result":
      return null;
    default:
      return { kind: "other", index, name: part.kind, data: part.data ?? null };
  }
}

/** A turn or the process is over: nothing grows any more. */
export function settle(view: SessionView): void {
  for (let at = view.items.length - 1; at >= 0; at--) {
    const item = view.items[at];
    if (item?.type !== "message") continue;
    if (item.role === "user" && !item.isStreaming) break;
    item.isStreaming = false;
  }
  for (const tool of Object.values(view.tools)) {
    if (tool.state === "preparing" || tool.state === "running") tool.state = "stopped";
  }
}
