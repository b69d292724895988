// Written by tools/gen_types.py from the msgspec Structs of oqto_platform. Do not edit.

export type StopCause = "aborted" | "error" | "length" | "stop" | "tool_use";
export type ToolStatus = "error" | "pending" | "running" | "success";
export type Phase = "compacting" | "generating" | "initializing" | "retrying" | "thinking" | "tool_running";
export type ModelFailure = "budget-exceeded" | "connection-lost" | "model-unknown" | "provider-error" | "provider-failed" | "provider-key-refused" | "provider-no-credit" | "provider-overloaded" | "provider-refused" | "provider-slow-down" | "provider-unavailable" | "provider-unreachable" | "request-too-large";
export type Event = SessionCreated | SessionClosed | TitleChanged | AgentWorking | AgentIdle | AgentError | InputNeeded | InputResolved | MessageStart | TextDelta | ThinkingDelta | ToolCallStart | ToolCallDelta | ToolCallEnd | MessageEnd | ToolStart | ToolProgress | ToolEnd | RetryStart | RetryEnd | CompactStart | CompactEnd | QueueChanged | ModelChanged | ThinkingLevelChanged | ConversationChanged | AccessDenied | Notify | Status | ResyncRequired;
export type Command = Prompt | Steer | FollowUp | Abort | AbortRetry | InputResponse | GetState | GetMessages | GetStats | GetModels | GetCommands | GetForkPoints | GetConversations | SetModel | CycleModel | SetThinkingLevel | CycleThinkingLevel | SetAutoCompaction | SetAutoRetry | Compact | SetSessionName | NewSession | SwitchSession | Fork;
export type Part = TextPart | ThinkingPart | ToolCallPart | ToolResultPart | ImagePart | ExtensionPart;
export type InputRequest = SelectRequest | ConfirmRequest | TextRequest | EditorRequest;

export interface Abort {
  cmd: "abort";
}

export interface AbortRetry {
  cmd: "abort_retry";
}

export interface AccessDenied {
  event: "access.denied";
  kind: "limit" | "network" | "path" | "process";
  target: string;
  sentence: string;
  rule?: string;
  key?: string;
  stated?: string;
  tool_call_id?: string;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface Account {
  id: string;
  name: string;
  role?: "admin" | "user";
  email?: string;
}

export interface AgentError {
  event: "agent.error";
  error: string;
  recoverable?: boolean;
  code?: string;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface AgentIdle {
  event: "agent.idle";
  stop_reason?: "aborted" | "error" | "length" | "stop" | "tool_use" | null;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface AgentWorking {
  event: "agent.working";
  phase?: "compacting" | "generating" | "initializing" | "retrying" | "thinking" | "tool_running";
  detail?: string;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface AuditFinding {
  seq: number;
  file: string;
  line: number;
  what: string;
}

export interface AuditPage {
  records: Array<AuditRecord>;
  next: number | null;
  events: Array<string>;
}

export interface AuditRecord {
  seq?: number;
  ts: number;
  event: string;
  actor?: string;
  account?: string;
  door?: string;
  target?: string;
  session?: string;
  outcome?: string;
  request?: string;
  fields?: Record<string, unknown>;
  prev: string;
}

export interface AuditReport {
  is_whole: boolean;
  records: number;
  last: number;
  head: string;
  files: number;
  findings: Array<AuditFinding>;
  notes: Array<string>;
}

export interface AuthState {
  setup_required: boolean;
  account: Account | null;
  version: string;
  mode: string;
}

export interface Capabilities {
  prompt_images?: boolean;
  steer?: boolean;
  follow_up?: boolean;
  abort?: boolean;
  compact?: boolean;
  fork?: boolean;
  set_model?: boolean;
  thinking?: boolean;
  resume?: boolean;
  commands?: boolean;
  conversations?: boolean;
  input_request_kinds?: Array<string>;
}

export interface Compact {
  cmd: "compact";
  instructions?: string;
}

export interface CompactEnd {
  event: "compact.end";
  success: boolean;
  will_retry?: boolean;
  error?: string;
  summary?: string;
  tokens_before?: number | null;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface CompactStart {
  event: "compact.start";
  reason?: string;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface ConfigStatus {
  source: string;
  error: string;
  error_at: number;
  loaded_at: number;
  pending: Array<Waiting>;
  is_agreed: boolean;
  workers: Array<WorkerStatus>;
}

export interface ConfirmRequest {
  type: "confirm";
  request_id: string;
  title: string;
  message?: string;
  timeout_ms?: number | null;
}

export interface ConversationChanged {
  event: "session.conversation_changed";
  cause: "fork" | "new" | "switch";
  messages?: Array<Message>;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface CycleModel {
  cmd: "cycle_model";
}

export interface CycleThinkingLevel {
  cmd: "cycle_thinking_level";
}

export interface EditorRequest {
  type: "editor";
  request_id: string;
  title: string;
  prefill?: string;
  timeout_ms?: number | null;
}

export interface ExtensionPart {
  type: "x-harness";
  kind: string;
  data?: unknown;
  id?: string;
}

export interface Folder {
  name: string;
  path: string;
  is_repository?: boolean;
}

export interface FolderListing {
  path: string;
  parent: string | null;
  folders: Array<Folder>;
  is_writable: boolean;
  is_truncated: boolean;
  suggested: string;
  refusal?: string;
}

export interface FollowUp {
  cmd: "follow_up";
  message: string;
  images?: Array<Image>;
  client_id?: string;
}

export interface Fork {
  cmd: "fork";
  entry_id: string;
}

export interface GetCommands {
  cmd: "get_commands";
}

export interface GetConversations {
  cmd: "get_conversations";
}

export interface GetForkPoints {
  cmd: "get_fork_points";
}

export interface GetMessages {
  cmd: "get_messages";
}

export interface GetModels {
  cmd: "get_models";
}

export interface GetState {
  cmd: "get_state";
}

export interface GetStats {
  cmd: "get_stats";
}

export interface Image {
  data: string;
  media_type: string;
}

export interface ImagePart {
  type: "image";
  data: string;
  mimeType: string;
  source?: "base64";
  alt?: string;
  id?: string;
}

export interface InputNeeded {
  event: "agent.input_needed";
  request: SelectRequest | ConfirmRequest | TextRequest | EditorRequest;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface InputResolved {
  event: "agent.input_resolved";
  request_id: string;
  reason?: "answered" | "cancelled" | "gone" | "timeout";
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface InputResponse {
  cmd: "input_response";
  request_id: string;
  value?: string | null;
  confirmed?: boolean | null;
  cancelled?: boolean;
}

export interface KeyView {
  name: string;
  type: "choice" | "integer" | "list" | "number" | "secret" | "switch" | "table" | "text";
  description: string;
  value: unknown;
  default: unknown;
  wanted?: unknown;
  origin: string;
  restart: boolean;
  is_pending: boolean;
  needs: string;
  choices?: Array<string>;
  minimum?: number | null;
  maximum?: number | null;
}

export interface Message {
  id: string;
  role: "assistant" | "system" | "tool" | "user";
  parts?: Array<TextPart | ThinkingPart | ToolCallPart | ToolResultPart | ImagePart | ExtensionPart>;
  created_at?: number;
  client_id?: string | null;
  model?: string | null;
  provider?: string | null;
  stop_reason?: "aborted" | "error" | "length" | "stop" | "tool_use" | null;
  usage?: MessageUsage | null;
  metadata?: Record<string, unknown>;
}

export interface MessageEnd {
  event: "stream.message_end";
  message: Message;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface MessageStart {
  event: "stream.message_start";
  message_id: string;
  role?: "assistant" | "system" | "tool" | "user";
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface MessageUsage {
  input_tokens?: number;
  output_tokens?: number;
  cache_read_tokens?: number;
  cache_write_tokens?: number;
  cost_usd?: number | null;
}

export interface ModelChanged {
  event: "config.model_changed";
  provider: string;
  model_id: string;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface NewSession {
  cmd: "session.new";
}

export interface NewSessionBody {
  workspace: string;
  harness?: string;
  provider?: string;
  model?: string;
  title?: string;
}

export interface NewWorkspace {
  path: string;
  create?: boolean;
  template?: string;
}

export interface Notify {
  event: "notify";
  level?: "error" | "info" | "warning";
  message?: string;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface OpenedWorkspace {
  path: string;
  name: string;
  is_new: boolean;
}

export interface PanelView {
  plugin: string;
  element: string;
  module: string;
  frame: string;
  place: "account" | "admin" | "first-run" | "session" | "tool";
  title: string;
  tools?: Array<string>;
}

export interface PasswordChange {
  current: string;
  new: string;
}

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  error?: string;
  instance?: string;
  extra?: Record<string, unknown>;
}

export interface Prompt {
  cmd: "prompt";
  message: string;
  images?: Array<Image>;
  client_id?: string;
}

export interface QueueChanged {
  event: "queue.changed";
  steering?: Array<string>;
  follow_up?: Array<string>;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface ResyncRequired {
  event: "stream.resync_required";
  oldest: number;
  reason?: string;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface RetryEnd {
  event: "retry.end";
  success: boolean;
  attempt?: number;
  final_error?: string;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface RetryStart {
  event: "retry.start";
  attempt: number;
  max_attempts: number;
  delay_ms: number;
  error?: string;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface SelectRequest {
  type: "select";
  request_id: string;
  title: string;
  options: Array<string>;
  timeout_ms?: number | null;
}

export interface SessionChange {
  title: string;
}

export interface SessionClosed {
  event: "session.closed";
  reason: string;
  detail?: string;
  exit_code?: number | null;
  stderr_tail?: string;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface SessionCreated {
  event: "session.created";
  harness: string;
  resumed?: boolean;
  provider?: string;
  model?: string;
  confined_by?: string;
  profile?: string;
  network?: string;
  sandbox?: string;
  capabilities?: Capabilities;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface SessionView {
  id: string;
  workspace: string;
  workspace_name: string;
  harness: string;
  provider: string;
  model: string;
  title: string;
  state: string;
  stop_reason: string;
  agent_state: string | null;
  created_at: number;
  started_at: number | null;
  stopped_at: number | null;
  last_active_at: number | null;
  confined_by: string;
  profile: string;
  network: string;
  sandbox: string;
  spent_usd: number;
  error: string;
}

export interface SetAutoCompaction {
  cmd: "set_auto_compaction";
  enabled: boolean;
}

export interface SetAutoRetry {
  cmd: "set_auto_retry";
  enabled: boolean;
}

export interface SetModel {
  cmd: "set_model";
  provider: string;
  model_id: string;
}

export interface SetSessionName {
  cmd: "set_session_name";
  name: string;
}

export interface SetThinkingLevel {
  cmd: "set_thinking_level";
  level: "high" | "low" | "medium" | "minimal" | "off" | "xhigh";
}

export interface SettingsChange {
  revision: string;
  values: Record<string, unknown>;
}

export interface SettingsView {
  file: string;
  revision: string;
  read_only: string;
  status: ConfigStatus;
  keys: Array<KeyView>;
}

export interface SetupRequest {
  token: string;
  name: string;
  password: string;
}

export interface SignIn {
  name: string;
  password: string;
}

export interface Status {
  event: "status";
  key: string;
  text?: string | null;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface Steer {
  cmd: "steer";
  message: string;
  images?: Array<Image>;
  client_id?: string;
}

export interface SwitchSession {
  cmd: "session.switch";
  session_path: string;
}

export interface TemplateView {
  name: string;
  title: string;
  description: string;
  plugin: string;
}

export interface TextDelta {
  event: "stream.text_delta";
  message_id: string;
  delta: string;
  content_index?: number;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface TextPart {
  type: "text";
  text: string;
  id?: string;
}

export interface TextRequest {
  type: "input";
  request_id: string;
  title: string;
  placeholder?: string;
  timeout_ms?: number | null;
}

export interface ThinkingDelta {
  event: "stream.thinking_delta";
  message_id: string;
  delta: string;
  content_index?: number;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface ThinkingLevelChanged {
  event: "config.thinking_level_changed";
  level: string;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface ThinkingPart {
  type: "thinking";
  text: string;
  id?: string;
}

export interface TitleChanged {
  event: "session.title_changed";
  title: string;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface ToolCallDelta {
  event: "stream.tool_call_delta";
  message_id: string;
  tool_call_id: string;
  delta: string;
  content_index?: number;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface ToolCallEnd {
  event: "stream.tool_call_end";
  message_id: string;
  tool_call_id: string;
  name: string;
  input?: unknown;
  content_index?: number;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface ToolCallPart {
  type: "tool_call";
  toolCallId: string;
  name: string;
  input?: unknown;
  status?: "error" | "pending" | "running" | "success";
  id?: string;
}

export interface ToolCallStart {
  event: "stream.tool_call_start";
  message_id: string;
  tool_call_id: string;
  name: string;
  content_index?: number;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface ToolEnd {
  event: "tool.end";
  tool_call_id: string;
  name: string;
  output?: unknown;
  is_error?: boolean;
  duration_ms?: number | null;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface ToolProgress {
  event: "tool.progress";
  tool_call_id: string;
  name: string;
  partial_output?: unknown;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface ToolResultPart {
  type: "tool_result";
  toolCallId: string;
  name?: string;
  output?: unknown;
  isError?: boolean;
  durationMs?: number | null;
  id?: string;
}

export interface ToolStart {
  event: "tool.start";
  tool_call_id: string;
  name: string;
  input?: unknown;
  session_id?: string;
  runner_id?: string;
  seq?: number;
  ts?: number;
}

export interface UsageView {
  spent_usd: number;
  limit_usd: number | null;
  calls: number;
  sessions: Record<string, number>;
}

export interface Waiting {
  key: string;
  running: unknown;
  wanted: unknown;
}

export interface WorkerStatus {
  pid: number;
  source: string;
  generation: number;
  digest: string;
  loaded_at: number;
  error?: string;
  error_at?: number;
  pending?: Array<Waiting>;
}

export interface WorkspaceView {
  path: string;
  name: string;
  last_used_at: number;
}
