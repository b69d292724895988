// What the screen shows of a session, and nothing about how it came.
import type { AccessDenied, Capabilities, InputRequest, Phase, StopCause } from "../api/types.gen";

export type ToolState = "preparing" | "running" | "success" | "error" | "stopped";

export interface ToolView {
  id: string;
  name: string;
  input: unknown;
  /** The input as far as it was streamed, until the whole of it is known. */
  inputText: string;
  state: ToolState;
  output: unknown;
  startedMs: number;
  durationMs: number | null;
}

export type PartView =
  | { kind: "text"; index: number; text: string }
  | { kind: "thinking"; index: number; text: string }
  | { kind: "tool"; index: number; toolId: string }
  | { kind: "image"; index: number; data: string; mimeType: string; alt: string }
  | { kind: "other"; index: number; name: string; data: unknown };

export interface MessageItem {
  type: "message";
  id: string;
  role: "user" | "assistant" | "system" | "tool";
  parts: PartView[];
  isStreaming: boolean;
  createdMs: number;
  clientId: string | null;
  stopReason: StopCause | null;
  model: string;
  costUsd: number;
}

export type NoticeKind =
  | "retry"
  | "compaction"
  | "error"
  | "info"
  | "warning"
  | "resumed"
  | "changed"
  | "closed"
  | "denied";

export type Denial = Pick<AccessDenied, "kind" | "target" | "sentence">;

export interface NoticeItem {
  type: "notice";
  id: string;
  notice: NoticeKind;
  text: string;
  detail: string;
  isOpen: boolean;
  isFailed: boolean;
  /** A retry: when the next try begins. */
  untilMs: number | null;
  attempt: number;
  maxAttempts: number;
  denials: Denial[];
}

export type Item = MessageItem | NoticeItem;

export interface Question {
  request: InputRequest;
  askedMs: number;
}

export interface SessionInfo {
  harness: string;
  confinedBy: string;
  profile: string;
  network: string;
  sandbox: string;
  capabilities: Capabilities;
}

export interface Closed {
  reason: string;
  detail: string;
  exitCode: number | null;
  stderrTail: string;
}

export interface SessionView {
  seq: number;
  items: Item[];
  /** Message id → position in `items`. */
  places: Record<string, number>;
  tools: Record<string, ToolView>;
  clientIds: Record<string, true>;
  info: SessionInfo | null;
  isWorking: boolean;
  phase: Phase | null;
  phaseDetail: string;
  workingSinceMs: number | null;
  lastTurnMs: number | null;
  questions: Question[];
  steering: string[];
  followUp: string[];
  provider: string;
  model: string;
  thinkingLevel: string;
  title: string;
  statuses: Record<string, string>;
  costUsd: number;
  contextTokens: number;
  closed: Closed | null;
}

export function emptyView(): SessionView {
  return {
    seq: 0,
    items: [],
    places: {},
    tools: {},
    clientIds: {},
    info: null,
    isWorking: false,
    phase: null,
    phaseDetail: "",
    workingSinceMs: null,
    lastTurnMs: null,
    questions: [],
    steering: [],
    followUp: [],
    provider: "",
    model: "",
    thinkingLevel: "",
    title: "",
    statuses: {},
    costUsd: 0,
    contextTokens: 0,
    closed: null,
  };
}
