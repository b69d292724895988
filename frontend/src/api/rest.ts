// What the HTTP API says, as docs/reference/api.md has it. Times are seconds since the epoch, money US dollars.
import type {
  Account,
  AuthState as AuthStateView,
  FolderListing,
  NewSessionBody,
  OpenedWorkspace,
  SessionView,
  TemplateView,
  UsageView,
  WorkspaceView,
} from "./types.gen";

export type { Account, FolderListing as Listing, OpenedWorkspace };
export type Template = TemplateView;
export type Workspace = WorkspaceView;
export type Usage = UsageView;
export type NewSession = NewSessionBody;

export interface AuthState extends AuthStateView {
  mode: "personal" | "server";
}

export type SessionState = "starting" | "running" | "stopping" | "stopped" | "failed" | "settled";

export interface Session extends SessionView {
  state: SessionState;
}

export interface Features {
  version: string;
  mode: "personal" | "server";
  harnesses: Array<{ name: string; title: string }>;
  plugins: string[];
  auto_attach?: string;
  auto_attach_scan?: boolean;
  max_upload_size_mb?: number;
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
  allow_unpriced?: boolean;
}
