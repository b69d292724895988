import {
  createEffect,
  createSignal,
  type JSX,
  lazy,
  Match,
  on,
  onCleanup,
  onMount,
  Show,
  Switch,
} from "solid-js";
import { t } from "../i18n";
import { useApp } from "../state/app";
import { go, route } from "../state/route";
import { Icon, Mark } from "../ui/icon";
import { ChatPage } from "./chat/chat";
import { ConfigBanner } from "./configuration/config-banner";
import { ConnectionBanner } from "./connection";
import { FirstRun } from "./first-run/first-run";
import { Home } from "./sessions/home";
import { SessionList } from "./sessions/session-list";
import { AccountMenu } from "./settings/account-menu";
import { AccountPage } from "./settings/account-page";
import { KeyboardSheet } from "./settings/keyboard";
import { ModelsPage } from "./settings/models-page";
import { NewSessionPage } from "./workspaces/new-session";

// Few people open it, and it is large.
const BudgetPage = lazy(() => import("./budget/budget-page"));
const ConfigPage = lazy(() => import("./configuration/config-page"));
const AuditPage = lazy(() => import("./admin/audit-page"));

const NARROW = "(max-width: 767px)";

/** The frame of the product: sessions at the side, the chosen page beside it. */
export function Shell(): JSX.Element {
  const app = useApp();
  const [isOpen, setOpen] = createSignal(false);
  const [isFolded, setFolded] = createSignal(false);
  const [isSheet, setSheet] = createSignal(false);
  createEffect(on(route, () => setOpen(false)));
  createEffect(on(route, () => queueMicrotask(toMain), { defer: true }));

  const needsModel = () => app.models.loading() === "ready" && app.models.sources().length === 0;
  const toggleList = () => {
    if (matchMedia(NARROW).matches) setOpen(!isOpen());
    else setFolded(!isFolded());
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.defaultPrevented) return;
    if (event.key === "Escape" && isOpen()) setOpen(false);
    else if ((event.ctrlKey || event.metaKey) && event.key === "b") toggleList();
    else if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    else if (event.key === "n") go("#/new");
    else if (event.key === "?") setSheet(true);
    else return;
    event.preventDefault();
  };
  onMount(() => window.addEventListener("keydown", onKey));
  onCleanup(() => window.removeEventListener("keydown", onKey));

  return (
    <div class="shell" classList={{ "shell-open": isOpen(), "shell-folded": isFolded() }}>
      <button type="button" class="skip-link" onClick={focusMain}>
        {t("shell.skip")}
      </button>
      <Show when={isOpen()}>
        <button
          type="button"
          class="scrim"
          aria-label={t("shell.closeList")}
          onClick={() => setOpen(false)}
        />
      </Show>
      <aside id="sessions" class="sidebar">
        <div class="sidebar-top">
          <a class="brand" href="#/">
            <Mark />
            <span>Oqto</span>
          </a>
          <button type="button" class="btn btn-quiet btn-icon only-narrow" onClick={() => setOpen(false)}>
            <Icon name="close" />
            <span class="visually-hidden">{t("shell.closeList")}</span>
          </button>
        </div>
        <a class="btn btn-primary sidebar-new" href="#/new">
          <Icon name="plus" />
          {t("shell.new")}
        </a>
        <SessionList onPick={() => setOpen(false)} />
        <AccountMenu onKeyboard={() => setSheet(true)} />
      </aside>
      <div class="main-column">
        <ConnectionBanner />
        <ConfigBanner />
        <main id="main" class="main" tabIndex={-1}>
          <Switch fallback={<Home onMenu={() => setOpen(true)} needsModel={needsModel()} />}>
            <Match when={session()} keyed>
              {(id) => <ChatPage id={id} onMenu={() => setOpen(true)} />}
            </Match>
            <Match
              when={
                needsModel() && !["account", "models", "audit", "budget", "config"].includes(route().page)
              }
            >
              <Page onMenu={() => setOpen(true)}>
                <FirstRun />
              </Page>
            </Match>
            <Match when={newPath() !== null}>
              <Page onMenu={() => setOpen(true)}>
                <NewSessionPage path={newPath() ?? ""} />
              </Page>
            </Match>
            <Match when={route().page === "models"}>
              <Page onMenu={() => setOpen(true)}>
                <ModelsPage />
              </Page>
            </Match>
            <Match when={route().page === "audit" && app.account.role === "admin"}>
              <Page onMenu={() => setOpen(true)}>
                <AuditPage />
              </Page>
            </Match>
            <Match when={route().page === "budget"}>
              <Page onMenu={() => setOpen(true)}>
                <BudgetPage />
              </Page>
            </Match>
            <Match when={route().page === "config" && app.account.role === "admin"}>
              <Page onMenu={() => setOpen(true)}>
                <ConfigPage />
              </Page>
            </Match>
            <Match when={route().page === "account"}>
              <Page onMenu={() => setOpen(true)}>
                <AccountPage />
              </Page>
            </Match>
          </Switch>
        </main>
      </div>
      <Show when={isSheet()}>
        <KeyboardSheet onClose={() => setSheet(false)} />
      </Show>
    </div>
  );
}

function session(): string | null {
  const here = route();
  return here.page === "session" ? here.id : null;
}

function newPath(): string | null {
  const here = route();
  return here.page === "new" ? here.path : null;
}

function Page(props: { onMenu(): void; children: JSX.Element }): JSX.Element {
  return (
    <div class="page-scroll">
      <TopBar onMenu={props.onMenu} />
      {props.children}
    </div>
  );
}

export function TopBar(props: { onMenu(): void }): JSX.Element {
  return (
    <div class="topbar only-narrow">
      <button
        type="button"
        class="btn btn-quiet btn-icon"
        aria-controls="sessions"
        onClick={() => props.onMenu()}
      >
        <Icon name="menu" />
        <span class="visually-hidden">{t("shell.openList")}</span>
      </button>
      <a class="brand" href="#/">
        <Mark />
        <span>Oqto</span>
      </a>
    </div>
  );
}

/** A new page begins at its top for those who read it by ear or by keyboard. */
function toMain(): void {
  const main = document.getElementById("main");
  if (main && !main.contains(document.activeElement)) main.focus();
}

function focusMain(): void {
  const target = document.querySelector<HTMLElement>(".composer textarea") ?? document.getElementById("main");
  target?.focus();
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}
