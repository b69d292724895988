import type { Problem } from "./types.gen";

/** A refusal or failure with its stable `code`, a sentence in `detail` and, where known, the request's id. */
export class ProblemError extends Error {
  readonly code: string;
  readonly status: number;
  readonly detail: string;
  readonly instance: string;
  readonly extra: Record<string, unknown>;
  /** Seconds to wait before the next try, when the server named them. */
  readonly retryAfterS: number | null;

  constructor(problem: Partial<Problem>, retryAfterS: number | null = null) {
    super(problem.detail || problem.title || "Something went wrong.");
    this.name = "ProblemError";
    this.code = problem.code ?? "internal";
    this.status = problem.status ?? 500;
    this.detail = this.message;
    this.instance = problem.instance ?? "";
    this.extra = problem.extra ?? {};
    this.retryAfterS = retryAfterS;
  }

  /** True when the same request may succeed later without a change. */
  get isPassing(): boolean {
    return this.code === "unreachable" || this.code === "timeout" || this.status === 503;
  }
}

export const unreachable = () =>
  new ProblemError({ code: "unreachable", status: 0, detail: "The server cannot be reached." });

export function toProblem(reason: unknown): ProblemError {
  if (reason instanceof ProblemError) return reason;
  return new ProblemError({ detail: reason instanceof Error ? reason.message : String(reason) });
}
