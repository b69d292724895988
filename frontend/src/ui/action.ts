import { createSignal } from "solid-js";
import { type ProblemError, toProblem } from "../api/problem";

/** Something that a button does: busy while it runs, with the problem it met, never twice at once. */
export function createAction<A extends unknown[]>(work: (...args: A) => Promise<void>) {
  const [isBusy, setBusy] = createSignal(false);
  const [problem, setProblem] = createSignal<ProblemError | null>(null);
  const run = async (...args: A): Promise<void> => {
    if (isBusy()) return;
    setBusy(true);
    setProblem(null);
    try {
      await work(...args);
    } catch (reason) {
      setProblem(toProblem(reason));
    } finally {
      setBusy(false);
    }
  };
  return { isBusy, problem, run, clear: () => setProblem(null) };
}
