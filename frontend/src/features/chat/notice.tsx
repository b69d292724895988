import { For, type JSX, Match, Show, Switch } from "solid-js";
import type { ModelFailure } from "../../api/types.gen";
import { type Key, t } from "../../i18n";
import type { NoticeItem } from "../../state/view";
import { createClock } from "../../ui/clock";
import { Icon, type IconName, Mark } from "../../ui/icon";

interface NoticeProps {
  notice: NoticeItem;
  onAbortRetry(): void;
}

/** What happened between the messages, each in a sentence. */
export function Notice(props: NoticeProps): JSX.Element {
  return (
    <Switch fallback={<Line notice={props.notice} />}>
      <Match when={props.notice.notice === "retry"}>
        <Retry {...props} />
      </Match>
      <Match when={props.notice.notice === "error"}>
        <Failure notice={props.notice} />
      </Match>
      <Match when={props.notice.notice === "denied"}>
        <Denied notice={props.notice} />
      </Match>
      <Match when={props.notice.notice === "compaction"}>
        <Compaction notice={props.notice} />
      </Match>
    </Switch>
  );
}

function Line(props: { notice: NoticeItem }): JSX.Element {
  const icon = (): IconName => (props.notice.notice === "warning" ? "alert" : "info");
  return (
    <p class={`notice-line small notice-${props.notice.notice}`}>
      <Icon name={icon()} />
      <span>{lineText(props.notice)}</span>
    </p>
  );
}

function lineText(notice: NoticeItem): string {
  if (notice.notice === "resumed") return t("notice.resumed");
  if (notice.notice === "closed") return t("notice.closed", { why: notice.detail || notice.text });
  if (notice.notice !== "changed") return notice.text;
  if (notice.text === "new") return t("notice.new");
  return notice.text === "fork" ? t("notice.fork") : t("notice.switch");
}

function Retry(props: NoticeProps): JSX.Element {
  const now = createClock();
  const seconds = () => Math.max(0, Math.ceil(((props.notice.untilMs ?? 0) - now()) / 1000));
  const numbers = () => ({ attempt: props.notice.attempt, most: props.notice.maxAttempts });
  return (
    <div class="callout callout-warning">
      <Show when={props.notice.isOpen} fallback={<Icon name="refresh" />}>
        <Mark isBusy class="mark-inline" />
      </Show>
      <div class="stack-tight grow">
        <p>
          <Switch fallback={t("retry.recovered", numbers())}>
            <Match when={props.notice.isOpen && seconds() > 0}>
              {t("retry.waiting", { ...numbers(), seconds: seconds() })}
            </Match>
            <Match when={props.notice.isOpen}>{t("retry.trying", numbers())}</Match>
            <Match when={props.notice.isFailed}>{t("retry.gaveUp", numbers())}</Match>
          </Switch>
        </p>
        <Show when={props.notice.detail}>
          <p class="small muted">{props.notice.detail}</p>
        </Show>
      </div>
      <Show when={props.notice.isOpen}>
        <button type="button" class="btn btn-small" onClick={() => props.onAbortRetry()}>
          {t("retry.stop")}
        </button>
      </Show>
    </div>
  );
}

function Denied(props: { notice: NoticeItem }): JSX.Element {
  return (
    <div class="callout callout-denied">
      <Icon name="shield" />
      <div class="stack-tight grow">
        <strong>{t("denied.title")}</strong>
        <For each={props.notice.denials}>{(denial) => <p class="denied-what">{denial.sentence}</p>}</For>
      </div>
    </div>
  );
}

function Failure(props: { notice: NoticeItem }): JSX.Element {
  return (
    <div class="callout callout-error">
      <Icon name="alert" />
      <div class="stack-tight grow">
        <strong>{t(failureTitle(props.notice.detail))}</strong>
        <p class="plain">{props.notice.text}</p>
        <p class="muted">
          {t(props.notice.isFailed ? "failure.over" : (SAFE[props.notice.detail] ?? "failure.safe"))}
        </p>
      </div>
    </div>
  );
}

const TITLES: Record<ModelFailure | "disk-full", Key> = {
  "provider-key-refused": "failure.provider-key-refused",
  "provider-refused": "failure.provider-refused",
  "provider-no-credit": "failure.provider-no-credit",
  "budget-exceeded": "failure.budget-exceeded",
  "model-unknown": "failure.model-unknown",
  "request-too-large": "failure.request-too-large",
  "provider-slow-down": "failure.provider-slow-down",
  "provider-overloaded": "failure.provider-overloaded",
  "provider-unavailable": "failure.provider-unavailable",
  "provider-unreachable": "failure.provider-unreachable",
  "provider-failed": "failure.provider-failed",
  "provider-error": "failure.provider-error",
  "connection-lost": "failure.connection-lost",
  "disk-full": "failure.disk-full",
};
const SAFE: Partial<Record<string, Key>> = {
  "budget-exceeded": "failure.safeBudget",
  "request-too-large": "failure.safeLarge",
  "provider-slow-down": "failure.safeLater",
  "provider-overloaded": "failure.safeLater",
  "provider-unavailable": "failure.safeLater",
};

const failureTitle = (code: string): Key => TITLES[code as ModelFailure] ?? "failure.title";

function Compaction(props: { notice: NoticeItem }): JSX.Element {
  return (
    <details class="notice-compaction small" open={false}>
      <summary class="row">
        <Show when={props.notice.isOpen} fallback={<Icon name="info" />}>
          <Mark isBusy class="mark-inline" />
        </Show>
        <Switch fallback={t("compaction.done")}>
          <Match when={props.notice.isOpen}>{t("compaction.running")}</Match>
          <Match when={props.notice.isFailed}>{t("compaction.failed")}</Match>
        </Switch>
      </summary>
      <p class="plain muted">{props.notice.detail || t("compaction.about")}</p>
    </details>
  );
}
