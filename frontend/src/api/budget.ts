// What the LLM proxy says about money, as docs/reference/api.md has it. Money is integer nano-dollars here.
export type Window = "total" | "day" | "week" | "month";

export interface Rates {
  rpm?: number;
  tpm?: number;
  rpd?: number;
  concurrent?: number;
}

export interface Wallet {
  id: string;
  kind: "key" | "session" | "workspace" | "account" | "group" | "platform";
  name: string;
  parent: string;
  limit_nusd: number | null;
  window: Window;
  spent_nusd: number;
  held_nusd: number;
  total_nusd: number;
  calls: number;
  open_calls: number;
  rates: Rates;
}

export interface Alert {
  number: number;
  at: number;
  wallet: string;
  kind: Wallet["kind"];
  name: string;
  session: string;
  percent: number;
  limit_nusd: number;
}

export interface Budget {
  wallets: Wallet[];
  alerts: Alert[];
  may_make_keys: boolean;
}

/** A line of a report: the day, the model or whatever it was grouped by. */
export interface UsageRow {
  name: string;
  calls: number;
  cost_nusd: number;
  input: number;
  cache_read: number;
  cache_write: number;
  output: number;
  estimated: number;
}

export interface NewLimit {
  limit_usd: number | null;
  window: Window;
}

export const usd = (nusd: number) => nusd / 1e9;
