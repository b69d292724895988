import { createSignal, For, type JSX, Match, Show, Switch } from "solid-js";
import { api } from "../../api/client";
import type { Session } from "../../api/rest";
import { ago, money, t } from "../../i18n";
import { useApp } from "../../state/app";
import { go, route, sessionPath } from "../../state/route";
import { createAction } from "../../ui/action";
import { createClock } from "../../ui/clock";
import { ConfirmDialog } from "../../ui/dialog";
import { Given } from "../../ui/given";
import { Icon } from "../../ui/icon";
import { Menu, MenuItem } from "../../ui/menu";
import { ProblemBox } from "../../ui/problem";
import { RenameDialog } from "./rename";
import { isAlive, shownState } from "./state";

type Asked = { what: "rename" | "delete"; session: Session } | null;

export function SessionList(props: { onPick(): void }): JSX.Element {
  const { list, forget } = useApp();
  const [asked, setAsked] = createSignal<Asked>(null);
  const [query, setQuery] = createSignal("");
  const now = createClock(30_000);

  const found = () => {
    const words = query().toLowerCase().trim();
    if (!words) return list.sessions;
    return list.sessions.filter((one) => `${one.title} ${one.workspace}`.toLowerCase().includes(words));
  };

  const older = createAction(() => list.showOlder());
  const remove = async (session: Session) => {
    await api.deleteSession(session.id);
    const here = route();
    forget(session.id);
    setAsked(null);
    if (here.page === "session" && here.id === session.id) go("#/");
  };

  return (
    <nav class="session-list" aria-label={t("sessions.title")}>
      <Show when={list.sessions.length > 6}>
        <div class="session-search">
          <Icon name="search" />
          <input
            type="search"
            class="input"
            placeholder={t("sessions.search")}
            aria-label={t("sessions.search")}
            value={query()}
            onInput={(event) => setQuery(event.currentTarget.value)}
          />
        </div>
      </Show>
      <Switch>
        <Match when={list.loading() === "loading"}>
          <div class="stack-tight session-note" role="status" aria-label={t("sessions.loading")}>
            <div class="skeleton skeleton-tall" />
            <div class="skeleton skeleton-tall" />
          </div>
        </Match>
        <Match when={list.loading() === "failed" && list.problem()} keyed>
          {(problem) => (
            <ProblemBox title={t("sessions.failed")} problem={problem} onRetry={() => void list.refresh()} />
          )}
        </Match>
        <Match when={list.sessions.length === 0}>
          <p class="muted session-note">{t("sessions.empty")}</p>
        </Match>
        <Match when={found().length === 0}>
          <p class="muted session-note">{t("sessions.noneFound", { words: query() })}</p>
        </Match>
      </Switch>
      <ul>
        <For each={found()}>
          {(session) => (
            <SessionRow
              session={session}
              nowMs={now()}
              onPick={props.onPick}
              onAsk={(what) => setAsked({ what, session })}
            />
          )}
        </For>
      </ul>
      <Show when={list.hasOlder()}>
        <button type="button" class="btn btn-quiet session-older" onClick={() => void older.run()}>
          {t(older.isBusy() ? "sessions.loading" : "sessions.older")}
        </button>
      </Show>
      <Given value={asked()?.what === "rename" && asked()?.session}>
        {(session) => <RenameDialog session={session()} onClose={() => setAsked(null)} />}
      </Given>
      <Given value={asked()?.what === "delete" && asked()?.session}>
        {(session) => (
          <ConfirmDialog
            title={t("delete.title")}
            text={t(isAlive(session()) ? "delete.textAlive" : "delete.text", { title: titleOf(session()) })}
            action={t("delete.action")}
            onConfirm={() => remove(session())}
            onClose={() => setAsked(null)}
          />
        )}
      </Given>
    </nav>
  );
}

export const titleOf = (session: Session) => session.title || t("sessions.untitled");

interface RowProps {
  session: Session;
  nowMs: number;
  onPick(): void;
  onAsk(what: "rename" | "delete"): void;
}

function SessionRow(props: RowProps): JSX.Element {
  const app = useApp();
  const shown = () => shownState(props.session, app.toldOf(props.session.id));
  const isHere = () => {
    const here = route();
    return here.page === "session" && here.id === props.session.id;
  };
  const at = () => props.session.last_active_at ?? props.session.created_at;
  return (
    <li class="session-row">
      <a
        class="session-link"
        href={sessionPath(props.session.id)}
        aria-current={isHere() ? "page" : undefined}
        onClick={() => props.onPick()}
      >
        <span class="session-title truncate">{titleOf(props.session)}</span>
        <span class="session-facts small muted">
          <span class={`dot dot-${shown().dot}`} aria-hidden="true" />
          <span>{shown().text}</span>
          <span class="truncate session-folder">{props.session.workspace_name}</span>
          <Given value={props.session.spent_usd}>{(spent) => <span>{money(spent())}</span>}</Given>
          <span class="session-time">{ago(at(), props.nowMs)}</span>
        </span>
      </a>
      <Menu
        side="menu-down menu-end"
        title={t("sessions.more", { title: titleOf(props.session) })}
        buttonClass="btn btn-quiet btn-icon session-more"
        label={<span aria-hidden="true">⋯</span>}
        isNamedByTitle
      >
        <MenuItem onPick={() => props.onAsk("rename")}>
          <Icon name="pencil" />
          {t("sessions.rename")}
        </MenuItem>
        <MenuItem onPick={() => props.onAsk("delete")}>
          <Icon name="trash" />
          {t("sessions.delete")}
        </MenuItem>
      </Menu>
    </li>
  );
}
