import type * as money from "./budget";
import { ProblemError, unreachable } from "./problem";
import type * as rest from "./rest";
import type { AuditPage, AuditReport, ConfigStatus, PanelView, Problem, SettingsView } from "./types.gen";

type SignedOut = () => void;
let signedOut: SignedOut = () => {};

/** Called whenever the server says that this browser is no longer signed in. */
export function onSignedOut(listener: SignedOut): void {
  signedOut = listener;
}

interface Options {
  body?: unknown;
  signal?: AbortSignal;
  /** A 401 is the answer to a question here (wrong password), not the end of the sign-in. */
  isSignIn?: boolean;
}

async function call<T>(method: string, path: string, options: Options = {}): Promise<T> {
  const response = await fetch(path, {
    method,
    credentials: "same-origin",
    headers: options.body === undefined ? {} : { "content-type": "application/json" },
    body: options.body === undefined ? null : JSON.stringify(options.body),
    signal: options.signal ?? null,
  }).catch((reason: unknown) => {
    if (options.signal?.aborted) throw reason;
    throw unreachable();
  });
  if (!response.ok) throw await refusal(response, options);
  if (response.status === 204) return undefined as T;
  return (await response.json()) as T;
}

async function refusal(response: Response, options: Options): Promise<ProblemError> {
  const problem = (await response.json().catch(() => ({}))) as Partial<Problem>;
  if (response.status === 401 && !options.isSignIn) signedOut();
  const retryAfter = Number(response.headers.get("retry-after"));
  const fallback = `The server answered with ${response.status}.`;
  return new ProblemError(
    { status: response.status, ...problem, detail: problem.detail || fallback },
    Number.isFinite(retryAfter) && retryAfter > 0 ? retryAfter : null,
  );
}

const get = <T>(path: string, signal?: AbortSignal) => call<T>("GET", path, { signal });
const post = <T>(path: string, body?: unknown, signal?: AbortSignal) =>
  call<T>("POST", path, { body, signal });
const id = encodeURIComponent;

export const api = {
  authState: () => get<rest.AuthState>("/api/auth/state"),
  setup: (token: string, name: string, password: string) =>
    call<rest.Account>("POST", "/api/auth/setup", { body: { token, name, password }, isSignIn: true }),
  login: (name: string, password: string) =>
    call<rest.Account>("POST", "/api/auth/login", { body: { name, password }, isSignIn: true }),
  logout: () => post<void>("/api/auth/logout"),
  logoutEverywhere: () => post<void>("/api/auth/logout-everywhere"),
  changePassword: (current: string, next: string) =>
    call<void>("POST", "/api/auth/change-password", { body: { current, new: next }, isSignIn: true }),
  features: () => get<rest.Features>("/api/features"),
  usage: () => get<rest.Usage>("/api/usage"),

  workspaces: () => get<rest.Workspace[]>("/api/workspaces"),
  browse: (path: string, hidden: boolean, signal?: AbortSignal) =>
    get<rest.Listing>(`/api/workspaces/browse?path=${id(path)}&hidden=${hidden}`, signal),
  templates: () => get<rest.Template[]>("/api/workspaces/templates"),
  openWorkspace: (path: string, create: boolean, template = "") =>
    post<rest.OpenedWorkspace>("/api/workspaces", { path, create, template }),

  sessions: (limit: number) => get<rest.Session[]>(`/api/sessions?limit=${limit}`),
  session: (session: string) => get<rest.Session>(`/api/sessions/${id(session)}`),
  startSession: (body: rest.NewSession, signal?: AbortSignal) =>
    post<rest.Session>("/api/sessions", body, signal),
  renameSession: (session: string, title: string) =>
    call<rest.Session>("PATCH", `/api/sessions/${id(session)}`, { body: { title } }),
  stopSession: (session: string) => post<rest.Session>(`/api/sessions/${id(session)}/stop`),
  resumeSession: (session: string) => post<rest.Session>(`/api/sessions/${id(session)}/resume`),
  deleteSession: (session: string) => call<void>("DELETE", `/api/sessions/${id(session)}`),

  panels: () => get<PanelView[]>("/api/plugins/panels"),
  // What a plugin refuses is an answer to its panel; whether the sign-in has ended is told elsewhere.
  ofPlugin: (method: string, path: string, body: unknown) =>
    call<unknown>(method, path, { body, isSignIn: true }),

  audit: (query: URLSearchParams) => get<AuditPage>(`/api/admin/audit?${query}`),
  verifyAudit: () => get<AuditReport>("/api/admin/audit/verify"),

  settings: () => get<SettingsView>("/api/settings"),
  changeSettings: (revision: string, values: Record<string, unknown>) =>
    call<SettingsView>("PATCH", "/api/settings", { body: { revision, values } }),
  configStatus: () => get<ConfigStatus>("/api/settings/status"),

  models: () => get<rest.ModelSource[]>("/api/models"),
  providers: () => get<rest.Provider[]>("/api/plugins/eavs/providers"),
  addProvider: (body: rest.NewProvider) => post<rest.Provider>("/api/plugins/eavs/providers", body),
  budget: () => get<money.Budget>("/api/plugins/eavs/mine/budget"),
  sessionBudget: (session: string) =>
    get<money.Budget>(`/api/plugins/eavs/mine/budget?session=${id(session)}`),
  ownUsage: (by: "day" | "model" | "session", since: number) =>
    get<money.UsageRow[]>(`/api/plugins/eavs/mine/usage?by=${by}&since=${since}`),
  wallets: () => get<money.Wallet[]>("/api/plugins/eavs/wallets"),
  setLimit: (wallet: string, body: money.NewLimit) =>
    call<void>("PUT", `/api/plugins/eavs/limits/${id(wallet)}`, { body }),
  deleteProvider: (name: string) => call<void>("DELETE", `/api/plugins/eavs/providers/${id(name)}`),
};
