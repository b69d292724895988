import type { JSX } from "solid-js";
import type { ProblemError } from "../api/problem";
import { t } from "../i18n";
import { CopyButton } from "./copy";
import { Given } from "./given";
import { Icon } from "./icon";

interface ProblemProps {
  title: string;
  problem: ProblemError;
  /** What has happened to the reader's work. */
  safe?: string;
  onRetry?(): void;
}

/** One line beside what was tried, and nothing while all is well. */
export function ProblemLine(props: { problem: ProblemError | null; class?: string }): JSX.Element {
  return (
    <Given value={props.problem}>
      {(problem) => (
        <p class={`field-error ${props.class ?? ""}`} role="alert">
          <Icon name="alert" />
          {problem().detail}
        </p>
      )}
    </Given>
  );
}

/** What failed, whether anything is lost, what to do, and an id for whoever is asked. */
export function ProblemBox(props: ProblemProps): JSX.Element {
  return (
    <div class="callout callout-error" role="alert">
      <Icon name="alert" />
      <div class="stack-tight grow">
        <strong>{props.title}</strong>
        <p>{props.problem.detail}</p>
        <Given value={props.safe}>{(safe) => <p class="muted">{safe()}</p>}</Given>
        <div class="row-wrap">
          <Given value={props.onRetry}>
            {(retry) => (
              <button type="button" class="btn btn-small" onClick={() => retry()()}>
                {t("ui.retry")}
              </button>
            )}
          </Given>
          <Given value={props.problem.instance}>
            {(id) => (
              <span class="row small muted">
                {t("ui.requestId")} <code>{id()}</code>
                <CopyButton text={() => id()} label={t("ui.copyId")} />
              </span>
            )}
          </Given>
        </div>
      </div>
    </div>
  );
}
