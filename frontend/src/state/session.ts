// Events in, view out. `apply` changes the view it is given and nothing else, so that the same events give
// the same view in a store, in a test and after any reconnect.
import type { Event } from "../api/types.gen";
import { endTool, openMessage, openPart, openTool, settle, takeMessage } from "./messages";
import { emptyView, type NoticeItem, type NoticeKind, type SessionView } from "./view";

type Kind = Event["event"];
type Of<K extends Kind> = Extract<Event, { event: K }>;
type Handlers = { [K in Kind]: (view: SessionView, event: Of<K>) => void };

export function apply(view: SessionView, event: Event): void {
  const handle = handlers[event.event] as ((view: SessionView, event: Event) => void) | undefined;
  handle?.(view, event);
  if (event.seq) view.seq = event.seq;
}

export function fold(events: Iterable<Event>, view: SessionView = emptyView()): SessionView {
  for (const event of events) apply(view, event);
  return view;
}

function notice(view: SessionView, event: Event, kind: NoticeKind, fields: Partial<NoticeItem>): void {
  view.items.push({
    type: "notice",
    id: `n${event.seq ?? view.items.length}`,
    notice: kind,
    text: "",
    detail: "",
    isOpen: false,
    isFailed: false,
    untilMs: null,
    attempt: 0,
    maxAttempts: 0,
    denials: [],
    ...fields,
  });
}

function openNotice(view: SessionView, kind: NoticeKind): NoticeItem | null {
  for (let at = view.items.length - 1; at >= 0; at--) {
    const item = view.items[at];
    if (item?.type === "notice" && item.notice === kind && item.isOpen) return item;
  }
  return null;
}

function rest(view: SessionView, atMs: number): void {
  if (view.workingSinceMs !== null && atMs) view.lastTurnMs = Math.max(0, atMs - view.workingSinceMs);
  view.isWorking = false;
  view.phase = null;
  view.phaseDetail = "";
  view.workingSinceMs = null;
  for (const kind of ["retry", "compaction"] as const) {
    const open = openNotice(view, kind);
    if (open) open.isOpen = false;
  }
  settle(view);
}

const handlers: Handlers = {
  "session.created": (view, event) => {
    view.info = {
      harness: event.harness,
      confinedBy: event.confined_by ?? "",
      profile: event.profile ?? "",
      network: event.network ?? "",
      sandbox: event.sandbox ?? "",
      capabilities: event.capabilities ?? {},
    };
    view.provider = event.provider || view.provider;
    view.model = event.model || view.model;
    view.closed = null;
    if (event.resumed) notice(view, event, "resumed", {});
  },
  "session.closed": (view, event) => {
    rest(view, event.ts ?? 0);
    view.questions = [];
    view.steering = [];
    view.followUp = [];
    view.statuses = {};
    view.closed = {
      reason: event.reason,
      detail: event.detail ?? "",
      exitCode: event.exit_code ?? null,
      stderrTail: event.stderr_tail ?? "",
    };
    notice(view, event, "closed", { text: event.reason, detail: event.detail ?? "" });
  },
  "session.title_changed": (view, event) => {
    view.title = event.title;
  },
  "session.conversation_changed": (view, event) => {
    view.items = [];
    view.places = {};
    view.tools = {};
    view.questions = [];
    for (const message of event.messages ?? []) takeMessage(view, message);
    settle(view);
    notice(view, event, "changed", { text: event.cause });
  },
  "agent.working": (view, event) => {
    view.isWorking = true;
    view.phase = event.phase ?? "generating";
    view.phaseDetail = event.detail ?? "";
    view.workingSinceMs ??= event.ts ?? 0;
  },
  "agent.idle": (view, event) => {
    rest(view, event.ts ?? 0);
    const last = view.items.at(-1);
    const isCut = event.stop_reason === "aborted" && last?.type === "message" && last.role === "assistant";
    if (isCut) last.stopReason ??= "aborted";
  },
  "agent.error": (view, event) => {
    const isFailed = event.recoverable === false;
    notice(view, event, "error", { text: event.error, detail: event.code ?? "", isFailed });
  },
  "agent.input_needed": (view, event) => {
    view.questions.push({ request: event.request, askedMs: event.ts ?? 0 });
  },
  "agent.input_resolved": (view, event) => {
    view.questions = view.questions.filter((open) => open.request.request_id !== event.request_id);
  },
  "stream.message_start": (view, event) => {
    openMessage(view, event.message_id, event.role ?? "assistant", event.ts ?? 0);
  },
  "stream.text_delta": (view, event) => {
    const index = event.content_index ?? 0;
    const message = openMessage(view, event.message_id, "assistant", event.ts ?? 0);
    const part = openPart(message, index, { kind: "text", index, text: "" });
    if (part.kind === "text") part.text += event.delta;
  },
  "stream.thinking_delta": (view, event) => {
    const index = event.content_index ?? 0;
    const message = openMessage(view, event.message_id, "assistant", event.ts ?? 0);
    const part = openPart(message, index, { kind: "thinking", index, text: "" });
    if (part.kind === "thinking") part.text += event.delta;
  },
  "stream.tool_call_start": (view, event) => {
    const index = event.content_index ?? 0;
    const message = openMessage(view, event.message_id, "assistant", event.ts ?? 0);
    openPart(message, index, { kind: "tool", index, toolId: event.tool_call_id });
    openTool(view, event.tool_call_id, event.name);
  },
  "stream.tool_call_delta": (view, event) => {
    openTool(view, event.tool_call_id, "").inputText += event.delta;
  },
  "stream.tool_call_end": (view, event) => {
    const index = event.content_index ?? 0;
    const message = openMessage(view, event.message_id, "assistant", event.ts ?? 0);
    openPart(message, index, { kind: "tool", index, toolId: event.tool_call_id });
    const tool = openTool(view, event.tool_call_id, event.name);
    tool.input = event.input ?? null;
    tool.inputText = "";
  },
  "stream.message_end": (view, event) => takeMessage(view, event.message),
  "stream.resync_required": (view) => {
    Object.assign(view, emptyView());
  },
  "tool.start": (view, event) => {
    const tool = openTool(view, event.tool_call_id, event.name);
    tool.state = "running";
    tool.input = event.input ?? tool.input;
    tool.inputText = "";
    tool.startedMs = event.ts ?? 0;
  },
  "tool.progress": (view, event) => {
    openTool(view, event.tool_call_id, event.name).output = event.partial_output ?? null;
  },
  "tool.end": (view, event) => {
    const tool = openTool(view, event.tool_call_id, event.name);
    const measured = tool.startedMs && event.ts ? event.ts - tool.startedMs : null;
    endTool(tool, event.is_error ? "error" : "success", event.output, event.duration_ms ?? measured);
  },
  "retry.start": (view, event) => {
    const open = openNotice(view, "retry");
    const fields = {
      detail: event.error ?? "",
      isOpen: true,
      untilMs: (event.ts ?? 0) + event.delay_ms,
      attempt: event.attempt,
      maxAttempts: event.max_attempts,
    };
    if (open) Object.assign(open, fields);
    else notice(view, event, "retry", fields);
  },
  "retry.end": (view, event) => {
    const open = openNotice(view, "retry");
    if (!open) return;
    Object.assign(open, {
      isOpen: false,
      isFailed: !event.success,
      detail: event.final_error || open.detail,
    });
  },
  "compact.start": (view, event) =>
    notice(view, event, "compaction", { text: event.reason ?? "", isOpen: true }),
  "compact.end": (view, event) => {
    const detail = event.success ? (event.summary ?? "") : (event.error ?? "");
    const fields = { isOpen: false, isFailed: !event.success, detail };
    const open = openNotice(view, "compaction");
    if (open) Object.assign(open, fields);
    else notice(view, event, "compaction", fields);
  },
  "queue.changed": (view, event) => {
    view.steering = event.steering ?? [];
    view.followUp = event.follow_up ?? [];
  },
  "config.model_changed": (view, event) => {
    view.provider = event.provider;
    view.model = event.model_id;
  },
  "config.thinking_level_changed": (view, event) => {
    view.thinkingLevel = event.level;
  },
  "access.denied": (view, event) => {
    // An agent that tries three doors makes one card, not three.
    const last = view.items.at(-1);
    if (last?.type === "notice" && last.notice === "denied") last.denials.push(event);
    else notice(view, event, "denied", { denials: [event] });
  },
  notify: (view, event) => {
    notice(view, event, event.level ?? "info", { text: event.message ?? "" });
  },
  status: (view, event) => {
    if (event.text) view.statuses[event.key] = event.text;
    else delete view.statuses[event.key];
  },
};
