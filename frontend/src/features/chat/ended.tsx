import { type JSX, Show } from "solid-js";
import type { Session } from "../../api/rest";
import { t } from "../../i18n";
import type { Closed } from "../../state/view";
import type { createAction } from "../../ui/action";
import { Given } from "../../ui/given";
import { Icon, Mark } from "../../ui/icon";
import { ProblemBox } from "../../ui/problem";
import { hasFailed } from "../sessions/state";

interface EndedProps {
  session: Session | undefined;
  closed: Closed | null;
  resume: ReturnType<typeof createAction<[]>>;
}

export const isFailure = (closed: Closed) => ["failed", "interrupted"].includes(closed.reason);

/** The agent's process is gone: why, what is safe, and the way back. */
export function Ended(props: EndedProps): JSX.Element {
  const isFailed = () =>
    props.closed ? isFailure(props.closed) : props.session !== undefined && hasFailed(props.session);
  const why = () => props.session?.error || props.closed?.detail || "";
  return (
    <section class="ended" aria-label={t("ended.title")}>
      <div class={`callout ${isFailed() ? "callout-error" : ""}`}>
        <Icon name={isFailed() ? "alert" : "info"} />
        <div class="stack-tight grow">
          <strong>{t(isFailed() ? "ended.failed" : "ended.title")}</strong>
          <Show when={why()}>
            <p>{why()}</p>
          </Show>
          <p class="muted">{t("ended.safe")}</p>
          <Given value={props.closed?.stderrTail}>
            {(tail) => (
              <details class="small">
                <summary>{t("ended.lastWords")}</summary>
                <pre class="tool-text">{tail()}</pre>
              </details>
            )}
          </Given>
          <div>
            <button
              type="button"
              class="btn btn-primary"
              disabled={props.resume.isBusy()}
              onClick={() => void props.resume.run()}
            >
              <Show when={props.resume.isBusy()} fallback={<Icon name="play" />}>
                <Mark isBusy class="mark-inline" />
              </Show>
              {t(props.resume.isBusy() ? "ended.resuming" : "ended.resume")}
            </button>
          </div>
          <Given value={props.resume.problem()}>
            {(problem) => <ProblemBox title={t("ended.resumeFailed")} problem={problem()} />}
          </Given>
        </div>
      </div>
    </section>
  );
}
