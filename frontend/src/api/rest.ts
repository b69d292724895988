// What the HTTP API says, as docs/reference/api.md has it. Times are seconds since the epoch, money US dollars.

export interface Account {
  id: string;
  name: string;
  role: "admin" | "user";
  email?: string | null;
}

export interface AuthState {
  setup_required: boolean;
  account: Account | null;
  version: string;
  mode: "personal" | "server";
}

export interface Features {
  version: string;
  mode: "personal" | "server";
  harnesses: Array<{ name: string; title: string }>;
  plugins: string[];
  max_upload_size_mb?: number;
}

export interface Usage {
  spent_usd: number;
  limit_usd: number | null;
  calls: number;
  sessions: Record<string, number>;
}

export interface Workspace {
  path: string;
  name: string;
  last_used_at?: number | null;
}

export interface OpenedWorkspace {
  path: string;
  name: string;
  is_new: boolean;
}

export interface Listing {
  path: string;
  parent: string | null;
  folders: Array<{ name: string; path: string; is_repository: boolean }>;
  is_writable: boolean;
  is_truncated: boolean;
}

export type SessionState = "starting" | "running" | "stopping" | "stopped" | "failed" | "settled";

export interface Session {
  id: string;
  workspace: string;
  workspace_name: string;
  harness: string;
  provider: string;
  model: string;
  title: string;
  state: SessionState;
  created_at: number;
  started_at: number | null;
  stopped_at: number | null;
  last_active_at: number | null;
  agent_state: string | null;
  confined_by: string;
  profile: string;
  network: string;
  sandbox: string;
  spent_usd: number | null;
  error: string | null;
}

export interface NewSession {
  workspace: string;
  harness?: string;
  provider?: string;
  model?: string;
  title?: string;
}

export interface Model {
  id: string;
  name: string;
  reasoning: boolean;
  input: string[];
  context_window: number | null;
  max_tokens: number | null;
  cost_input: number | null;
  cost_output: number | null;
}

export interface ModelSource {
  name: string;
  title: string;
  is_demo: boolean;
  models: Model[];
}

export type ProviderKind = "openai" | "anthropic" | "openrouter" | "openai-compatible" | "demo";

export interface Provider {
  name: string;
  title: string;
  kind: ProviderKind;
  base_url: string;
  has_key: boolean;
  is_demo: boolean;
  models: string[];
}

export interface NewProvider {
  name: string;
  kind: ProviderKind;
  base_url: string;
  api_key: string;
  models: string[];
}
