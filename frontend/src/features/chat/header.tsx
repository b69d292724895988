import { createSignal, For, type JSX, Show } from "solid-js";
import { api } from "../../api/client";
import type { Session } from "../../api/rest";
import { t } from "../../i18n";
import { useApp } from "../../state/app";
import { go, newPath } from "../../state/route";
import { createAction } from "../../ui/action";
import { ConfirmDialog } from "../../ui/dialog";
import { Given } from "../../ui/given";
import { Icon, type IconName } from "../../ui/icon";
import { Menu, MenuItem } from "../../ui/menu";
import { ProblemLine } from "../../ui/problem";
import { RenameDialog } from "../sessions/rename";
import { shownState } from "../sessions/state";

interface HeaderProps {
  session: Session | undefined;
  title: string;
  isAlive: boolean;
  /** What the agent can do with its conversation; none of it while it works. */
  actions: ConversationAction[];
  isWorking: boolean;
  panels: JSX.Element;
  onMenu(): void;
}

export interface ConversationAction {
  name: string;
  icon: IconName;
  title: string;
  description: string;
  run(): void;
}

type Asked = "rename" | "delete" | null;

export function ChatHeader(props: HeaderProps): JSX.Element {
  const app = useApp();
  const [asked, setAsked] = createSignal<Asked>(null);
  const shown = (session: Session) => shownState(session, app.toldOf(session.id));
  const stop = createAction(async () => {
    const { session } = props;
    if (session) app.list.put(await api.stopSession(session.id));
  });
  const remove = async (session: Session) => {
    await api.deleteSession(session.id);
    app.forget(session.id);
    go("#/");
  };
  return (
    <header class="chat-header">
      <button
        type="button"
        class="btn btn-quiet btn-icon only-narrow"
        aria-controls="sessions"
        onClick={() => props.onMenu()}
      >
        <Icon name="menu" />
        <span class="visually-hidden">{t("shell.openList")}</span>
      </button>
      <div class="grow chat-title">
        <h1 class="truncate">
          <button
            type="button"
            class="title-button truncate"
            title={t("rename.title")}
            disabled={!props.session}
            onClick={() => setAsked("rename")}
          >
            {props.title}
          </button>
        </h1>
        <Given value={props.session}>
          {(session) => (
            <p class="small muted row">
              <span class={`dot dot-${shown(session()).dot}`} aria-hidden="true" />
              {shown(session()).text}
              <span class="truncate" title={session().workspace}>
                · {session().workspace_name}
              </span>
            </p>
          )}
        </Given>
      </div>
      <ProblemLine problem={stop.problem()} />
      {props.panels}
      <Show when={props.session}>
        <Menu
          side="menu-down menu-end"
          title={t("chat.more")}
          buttonClass="btn btn-quiet btn-icon"
          label={<span aria-hidden="true">⋯</span>}
          isNamedByTitle
        >
          <MenuItem onPick={() => setAsked("rename")}>
            <Icon name="pencil" />
            {t("sessions.rename")}
          </MenuItem>
          <MenuItem onPick={() => go(newPath(props.session?.workspace))}>
            <Icon name="plus" />
            {t("chat.newHere")}
          </MenuItem>
          <For each={props.actions}>
            {(action) => (
              <MenuItem isDisabled={props.isWorking} onPick={() => action.run()}>
                <Icon name={action.icon} />
                {action.title}
              </MenuItem>
            )}
          </For>
          <Show when={props.isAlive}>
            <MenuItem onPick={() => void stop.run()}>
              <Icon name="stop" />
              {t("chat.end")}
            </MenuItem>
          </Show>
          <MenuItem onPick={() => setAsked("delete")}>
            <Icon name="trash" />
            {t("sessions.delete")}
          </MenuItem>
        </Menu>
      </Show>
      <Given value={asked() === "rename" && props.session}>
        {(session) => <RenameDialog session={session()} onClose={() => setAsked(null)} />}
      </Given>
      <Given value={asked() === "delete" && props.session}>
        {(session) => (
          <ConfirmDialog
            title={t("delete.title")}
            text={t(props.isAlive ? "delete.textAlive" : "delete.text", { title: props.title })}
            action={t("delete.action")}
            onConfirm={() => remove(session())}
            onClose={() => setAsked(null)}
          />
        )}
      </Given>
    </header>
  );
}
