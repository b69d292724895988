import { For, type JSX, Match, Switch } from "solid-js";
import { ago, money, t } from "../../i18n";
import { useApp } from "../../state/app";
import { sessionPath } from "../../state/route";
import { usedAt } from "../../state/sessions";
import { createClock } from "../../ui/clock";
import { Given } from "../../ui/given";
import { Icon } from "../../ui/icon";
import { ProblemBox } from "../../ui/problem";
import { FirstRun } from "../first-run/first-run";
import { TopBar } from "../shell";
import { titleOf } from "./session-list";
import { shownState } from "./state";

const RECENT = 6;

export function Home(props: { onMenu(): void; needsModel: boolean }): JSX.Element {
  const app = useApp();
  const isNew = () => app.list.loading() !== "loading" && app.list.sessions.length === 0;
  // The demo model is there from the start; whoever comes for the first time should still be asked.
  const hasOnlyDemo = () => app.models.sources().every((source) => source.is_demo);
  return (
    <div class="page-scroll">
      <TopBar onMenu={props.onMenu} />
      <Switch fallback={<HomeSkeleton />}>
        <Match when={props.needsModel}>
          <FirstRun />
        </Match>
        <Match when={app.models.problem() && app.models.loading() === "failed" && app.models.problem()} keyed>
          {(problem) => (
            <div class="page">
              <ProblemBox
                title={t("home.failed")}
                problem={problem}
                onRetry={() => void app.models.refresh()}
              />
            </div>
          )}
        </Match>
        <Match
          when={app.models.loading() === "ready" && isNew() && hasOnlyDemo() && app.account.role === "admin"}
        >
          <FirstRun />
        </Match>
        <Match when={app.models.loading() === "ready" && isNew()}>
          <Empty />
        </Match>
        <Match when={app.list.sessions.length > 0}>
          <Recent />
        </Match>
      </Switch>
    </div>
  );
}

function HomeSkeleton(): JSX.Element {
  return (
    <div class="page" role="status" aria-label={t("sessions.loading")}>
      <div class="skeleton skeleton-short" />
      <div class="skeleton skeleton-tall" />
      <div class="skeleton skeleton-tall" />
    </div>
  );
}

function Empty(): JSX.Element {
  return (
    <div class="page page-middle">
      <h1>{t("home.emptyTitle")}</h1>
      <p class="muted lead">{t("home.emptyLead")}</p>
      <a class="btn btn-primary btn-large" href="#/new">
        <Icon name="folder" />
        {t("home.emptyAction")}
      </a>
    </div>
  );
}

function Recent(): JSX.Element {
  const app = useApp();
  const recent = () => [...app.list.sessions].sort((a, b) => usedAt(b) - usedAt(a)).slice(0, RECENT);
  const now = createClock(30_000);
  return (
    <div class="page">
      <header class="row-wrap">
        <h1 class="grow">{t("home.title", { name: app.account.name })}</h1>
        <a class="btn btn-primary" href="#/new">
          <Icon name="plus" />
          {t("shell.new")}
        </a>
      </header>
      <section class="stack-tight" aria-labelledby="home-recent">
        <h2 id="home-recent" class="label">
          {t("home.recent")}
        </h2>
        <ul class="home-cards">
          <For each={recent()}>
            {(session) => {
              const shown = () => shownState(session, app.toldOf(session.id));
              return (
                <li>
                  <a class="home-card" href={sessionPath(session.id)}>
                    <strong class="truncate">{titleOf(session)}</strong>
                    <span class="small muted row">
                      <Icon name="folder" />
                      <span class="truncate">{session.workspace_name}</span>
                    </span>
                    <span class="small muted row">
                      <span class={`dot dot-${shown().dot}`} aria-hidden="true" />
                      {shown().text}
                      <span class="grow" />
                      <Given value={session.spent_usd}>{(spent) => <span>{money(spent())}</span>}</Given>
                      <span>{ago(session.last_active_at ?? session.created_at, now())}</span>
                    </span>
                  </a>
                </li>
              );
            }}
          </For>
        </ul>
      </section>
    </div>
  );
}
