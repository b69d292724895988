import { createResource, For, type JSX, Match, Switch } from "solid-js";
import { api } from "../../api/client";
import { toProblem } from "../../api/problem";
import type { AuditReport } from "../../api/types.gen";
import { t } from "../../i18n";
import { CopyButton } from "../../ui/copy";
import { Given } from "../../ui/given";
import { Icon } from "../../ui/icon";
import { ProblemBox } from "../../ui/problem";

/** Whether the chain is whole; if not, which records are missing or changed. */
export function ChainCard(): JSX.Element {
  const [report, { refetch }] = createResource(() => api.verifyAudit());
  const again = () => void refetch();
  return (
    <Switch>
      <Match when={report.error}>
        <ProblemBox title={t("audit.checkFailed")} problem={toProblem(report.error)} onRetry={again} />
      </Match>
      <Match when={report.loading}>
        <p class="muted" role="status">
          {t("audit.checking")}
        </p>
      </Match>
      <Match when={report()?.is_whole}>
        <Given value={report()}>{(found) => <Whole report={found()} onAgain={again} />}</Given>
      </Match>
      <Match when={report()}>
        <Given value={report()}>{(found) => <Broken report={found()} onAgain={again} />}</Given>
      </Match>
    </Switch>
  );
}

interface ChainProps {
  report: AuditReport;
  onAgain(): void;
}

function Whole(props: ChainProps): JSX.Element {
  return (
    <section class="card audit-chain" role="status">
      <Icon name="check" class="audit-good" />
      <div class="stack-tight grow">
        <strong>{t("audit.whole")}</strong>
        <p class="muted">{t("audit.wholeText", { count: props.report.records, last: props.report.last })}</p>
        <p class="row audit-hash">
          <code class="truncate" title={t("audit.hash")}>
            {props.report.head}
          </code>
          <CopyButton text={() => props.report.head} label={t("audit.copyHash")} />
        </p>
        <p class="small muted">{t("audit.hashHint")}</p>
        <For each={props.report.notes}>{(note) => <p class="small muted">{note}</p>}</For>
      </div>
      <AgainButton onAgain={props.onAgain} />
    </section>
  );
}

function Broken(props: ChainProps): JSX.Element {
  return (
    <section class="callout callout-error" role="alert">
      <Icon name="alert" />
      <div class="stack-tight grow">
        <strong>{t("audit.broken")}</strong>
        <ul class="audit-findings">
          <For each={props.report.findings}>
            {(finding) => (
              <li>
                {finding.what}{" "}
                <span class="small muted mono">
                  {finding.file}:{finding.line}
                </span>
              </li>
            )}
          </For>
        </ul>
        <p class="muted">{t("audit.brokenText")}</p>
      </div>
      <AgainButton onAgain={props.onAgain} />
    </section>
  );
}

function AgainButton(props: { onAgain(): void }): JSX.Element {
  return (
    <button type="button" class="btn btn-small" onClick={() => props.onAgain()}>
      <Icon name="refresh" />
      {t("audit.again")}
    </button>
  );
}
