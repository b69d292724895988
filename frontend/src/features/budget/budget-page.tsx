import { createSignal, For, type JSX, onCleanup, onMount, Show } from "solid-js";
import { type Alert, type Budget, type UsageRow, usd, type Wallet } from "../../api/budget";
import { api } from "../../api/client";
import { type ProblemError, toProblem } from "../../api/problem";
import { ago, type Key, money, t } from "../../i18n";
import { useApp } from "../../state/app";
import { sessionPath } from "../../state/route";
import { Given } from "../../ui/given";
import { Icon } from "../../ui/icon";
import { ProblemBox } from "../../ui/problem";
import { LimitsCard } from "./limits-card";
import { Meter } from "./meter";
import { DaysCard, ModelsCard } from "./usage-cards";

const EVERY_MS = 2_000;
const MONTH_S = 30 * 86_400;
const MOST_SESSIONS = 8;
const MOST_ALERTS = 6;
const SHARED = ["platform", "group", "account"];

interface Money {
  budget: Budget;
  days: UsageRow[];
  models: UsageRow[];
  everybody: Wallet[];
}

/** What was spent, on what, and how much is left; it follows the calls while it is looked at. */
export default function BudgetPage(): JSX.Element {
  const app = useApp();
  const isAdmin = () => app.account.role === "admin";
  const { now, money: found, problem, refresh } = createMoney(isAdmin);
  return (
    <div class="page">
      <header class="stack-tight">
        <h1>{t("budget.title")}</h1>
        <p class="muted lead">{t("budget.lead")}</p>
      </header>
      <Given value={problem()}>
        {(failed) => (
          <ProblemBox
            title={t("budget.failed")}
            safe={t("budget.safe")}
            problem={failed()}
            onRetry={() => void refresh()}
          />
        )}
      </Given>
      <Given
        value={found()}
        fallback={<Show when={!problem()}>{<div class="skeleton skeleton-tall" />}</Show>}
      >
        {(known) => (
          <>
            <OwnCard wallets={known().budget.wallets} />
            <Show when={known().budget.alerts.length}>
              <AlertsCard alerts={known().budget.alerts} now={now()} />
            </Show>
            <DaysCard rows={known().days} now={now()} />
            <ModelsCard rows={known().models} />
            <Show when={isAdmin()}>
              <LimitsCard wallets={known().everybody} onChanged={() => void refresh()} />
            </Show>
          </>
        )}
      </Given>
    </div>
  );
}

function createMoney(isAdmin: () => boolean) {
  const [now, setNow] = createSignal(Date.now());
  const [found, setFound] = createSignal<Money | null>(null);
  const [problem, setProblem] = createSignal<ProblemError | null>(null);
  let isAsking = false;
  const refresh = async () => {
    if (isAsking || document.hidden) return;
    isAsking = true;
    try {
      const since = Math.floor(Date.now() / 1000) - MONTH_S;
      const [budget, days, models, everybody] = await Promise.all([
        api.budget(),
        api.ownUsage("day", since),
        api.ownUsage("model", since),
        isAdmin() ? api.wallets() : [],
      ]);
      setFound({ budget, days, models, everybody: everybody.filter((one) => SHARED.includes(one.kind)) });
      setProblem(null);
    } catch (reason) {
      setProblem(toProblem(reason));
    } finally {
      isAsking = false;
      setNow(Date.now());
    }
  };
  onMount(() => {
    void refresh();
    const timer = setInterval(() => void refresh(), EVERY_MS);
    onCleanup(() => clearInterval(timer));
  });
  return { now, money: found, problem, refresh };
}

function OwnCard(props: { wallets: Wallet[] }): JSX.Element {
  const { list } = useApp();
  const account = () => props.wallets.find((wallet) => wallet.kind === "account");
  const spenders = () =>
    props.wallets
      .filter((wallet) => wallet.kind === "session" && (wallet.calls > 0 || wallet.held_nusd > 0))
      .sort((one, other) => other.spent_nusd - one.spent_nusd)
      .slice(0, MOST_SESSIONS);
  const titleOf = (id: string) => {
    const known = list.find(id);
    return known?.title || known?.workspace.split("/").pop() || id;
  };
  return (
    <section class="card stack" aria-labelledby="budget-mine">
      <h2 id="budget-mine">{t("budget.mine")}</h2>
      <Given value={account()} fallback={<p class="muted">{t("budget.noSessions")}</p>}>
        {(wallet) => <Meter wallet={wallet()} label={wallet().name} />}
      </Given>
      <Show when={spenders().length}>
        <h3>{t("budget.sessions")}</h3>
        <ul class="stack">
          <For each={spenders().map((wallet) => wallet.id)}>
            {(id) => (
              <Given value={props.wallets.find((wallet) => wallet.id === id)}>
                {(wallet) => (
                  <li>
                    <a class="budget-session" href={sessionPath(id.replace("session:", ""))}>
                      <Meter wallet={wallet()} label={titleOf(id.replace("session:", ""))} />
                    </a>
                  </li>
                )}
              </Given>
            )}
          </For>
        </ul>
      </Show>
    </section>
  );
}

function AlertsCard(props: { alerts: Alert[]; now: number }): JSX.Element {
  const newest = () => [...props.alerts].reverse().slice(0, MOST_ALERTS);
  const words = (alert: Alert) => {
    const values = {
      percent: alert.percent,
      limit: money(usd(alert.limit_nusd)),
      whose: t(`budget.${alert.kind}` as Key, { name: alert.name }),
    };
    return t(alert.percent >= 100 ? "budget.alertEnd" : "budget.alert", values);
  };
  return (
    <section class="card stack-tight" aria-labelledby="budget-alerts">
      <h2 id="budget-alerts">{t("budget.alerts")}</h2>
      <ul class="stack-tight">
        <For each={newest()}>
          {(alert) => (
            <li class="row" classList={{ "budget-warned": alert.percent >= 95 }}>
              <Icon name={alert.percent >= 95 ? "alert" : "info"} />
              <span class="grow">
                {alert.session ? <a href={sessionPath(alert.session)}>{words(alert)}</a> : words(alert)}
              </span>
              <span class="small muted">{ago(alert.at, props.now)}</span>
            </li>
          )}
        </For>
      </ul>
    </section>
  );
}
