import { createResource, createSignal, For, type JSX, Show } from "solid-js";
import { api } from "../../api/client";
import { money, t } from "../../i18n";
import { PanelCards } from "../../panels/cards";
import { useApp } from "../../state/app";
import { createAction } from "../../ui/action";
import { announce } from "../../ui/announcer";
import { ConfirmDialog } from "../../ui/dialog";
import { Field } from "../../ui/field";
import { Given } from "../../ui/given";
import { Icon } from "../../ui/icon";
import { ProblemBox } from "../../ui/problem";
import { MIN_PASSWORD } from "../sign-in/setup";

export function AccountPage(): JSX.Element {
  const app = useApp();
  const [isAsking, setAsking] = createSignal(false);
  const everywhere = async () => {
    await api.logoutEverywhere();
    app.onSignedOut();
  };
  return (
    <div class="page">
      <h1>{t("account.title")}</h1>
      <UsageCard />
      <PasswordCard name={app.account.name} />
      <PanelCards place="account" />
      <PanelCards place="admin" />
      <section class="card stack" aria-labelledby="devices">
        <h2 id="devices">{t("account.everywhereTitle")}</h2>
        <p class="muted">{t("account.everywhereText")}</p>
        <div>
          <button type="button" class="btn btn-danger" onClick={() => setAsking(true)}>
            {t("account.everywhere")}
          </button>
        </div>
      </section>
      <p class="small muted">{t("account.version", { version: app.features?.version ?? "—" })}</p>
      <Show when={isAsking()}>
        <ConfirmDialog
          title={t("account.everywhere")}
          text={t("account.everywhereConfirm")}
          action={t("account.everywhere")}
          onConfirm={everywhere}
          onClose={() => setAsking(false)}
        />
      </Show>
    </div>
  );
}

function UsageCard(): JSX.Element {
  const [usage] = createResource(() => api.usage().catch(() => null));
  return (
    <section class="card stack-tight" aria-labelledby="usage">
      <h2 id="usage">{t("usage.title")}</h2>
      <Show when={!usage.loading} fallback={<div class="skeleton skeleton-short" />}>
        <Given value={usage()} fallback={<p class="muted">{t("usage.unknown")}</p>}>
          {(known) => (
            <dl class="facts">
              <For
                each={[
                  [t("usage.spent"), money(known().spent_usd)],
                  [t("usage.limit"), limitOf(known().limit_usd)],
                  [t("usage.calls"), String(known().calls)],
                ]}
              >
                {([label, value]) => (
                  <div>
                    <dt class="small muted">{label}</dt>
                    <dd>{value}</dd>
                  </div>
                )}
              </For>
            </dl>
          )}
        </Given>
      </Show>
    </section>
  );
}

const limitOf = (limit: number | null) => (limit === null ? t("usage.noLimit") : money(limit));

function PasswordCard(props: { name: string }): JSX.Element {
  const [current, setCurrent] = createSignal("");
  const [next, setNext] = createSignal("");
  const [isDone, setDone] = createSignal(false);
  const [wasTried, setTried] = createSignal(false);
  const isShort = () => next().length < MIN_PASSWORD;
  const action = createAction(async () => {
    await api.changePassword(current(), next());
    setCurrent("");
    setNext("");
    setTried(false);
    setDone(true);
    announce(t("password.done"));
  });
  const isWrong = () => [401, 403].includes(action.problem()?.status ?? 0);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    setTried(true);
    setDone(false);
    if (!isShort()) void action.run();
  };
  return (
    <section class="card" aria-labelledby="password">
      <form class="stack" novalidate onSubmit={submit}>
        <h2 id="password">{t("password.title")}</h2>
        <input
          class="visually-hidden"
          autocomplete="username"
          value={props.name}
          readOnly
          tabIndex={-1}
          aria-hidden="true"
        />
        <Field
          label={t("password.current")}
          type="password"
          autocomplete="current-password"
          value={current()}
          onText={setCurrent}
          error={isWrong() ? t("password.wrong") : undefined}
        />
        <Field
          label={t("password.next")}
          type="password"
          autocomplete="new-password"
          hint={t("setup.passwordHint", { least: MIN_PASSWORD })}
          value={next()}
          onText={setNext}
          error={
            wasTried() && isShort()
              ? t("setup.passwordShort", { least: MIN_PASSWORD, left: MIN_PASSWORD - next().length })
              : undefined
          }
        />
        <Given value={!isWrong() && action.problem()}>
          {(problem) => <ProblemBox title={t("password.failed")} problem={problem()} />}
        </Given>
        <div class="row-wrap">
          <button type="submit" class="btn btn-primary" disabled={action.isBusy() || !current()}>
            {t("password.action")}
          </button>
          <Show when={isDone()}>
            <span class="row">
              <Icon name="check" />
              {t("password.done")}
            </span>
          </Show>
        </div>
      </form>
    </section>
  );
}
