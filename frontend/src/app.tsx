import { createEffect, createSignal, type JSX, Match, onMount, Show, Switch } from "solid-js";
import { api, onSignedOut } from "./api/client";
import { type ProblemError, toProblem } from "./api/problem";
import type { Account, AuthState, Features } from "./api/rest";
import { Shell } from "./features/shell";
import { Setup } from "./features/sign-in/setup";
import { SetupRequired } from "./features/sign-in/setup-required";
import { SignIn } from "./features/sign-in/sign-in";
import { t } from "./i18n";
import { Renderers } from "./panels/renderers";
import { type App, AppProvider, createApp } from "./state/app";
import { landing, remember, remembered } from "./state/attach";
import { go, route, sessionPath } from "./state/route";
import { Announcer } from "./ui/announcer";
import { Given } from "./ui/given";
import { Mark } from "./ui/icon";
import { ProblemBox } from "./ui/problem";

const AGAIN_MS = 3_000;

/** Who is here decides what is shown: first setup, sign-in, or the product. */
export function Root(): JSX.Element {
  const [auth, setAuth] = createSignal<AuthState | null>(null);
  const [problem, setProblem] = createSignal<ProblemError | null>(null);
  const [wasSignedOut, setWasSignedOut] = createSignal(false);

  const ask = async () => {
    try {
      setAuth(await api.authState());
      setProblem(null);
    } catch (reason) {
      const failure = toProblem(reason);
      setProblem(failure);
      if (failure.isPassing) setTimeout(ask, AGAIN_MS);
    }
  };
  onMount(ask);

  const signedIn = (account: Account) => {
    setWasSignedOut(false);
    setAuth((known) => (known ? { ...known, account, setup_required: false } : known));
    if (route().page === "setup") go("#/", { replace: true });
  };
  const signedOut = () => {
    if (!auth()?.account) return;
    setWasSignedOut(true);
    setAuth((known) => (known ? { ...known, account: null } : known));
  };
  onSignedOut(signedOut);

  const setupToken = () => {
    const here = route();
    return here.page === "setup" && !auth()?.account ? here.token : null;
  };

  return (
    <>
      <Given value={auth()} fallback={<Booting problem={problem()} />}>
        {(known) => (
          <Switch fallback={<SignIn wasSignedOut={wasSignedOut()} onSignedIn={signedIn} />}>
            <Match when={known().account} keyed>
              {(account) => <SignedIn account={account} onSignedOut={signedOut} />}
            </Match>
            <Match when={setupToken()} keyed>
              {(token) => <Setup token={token} isOpen={known().setup_required} onSignedIn={signedIn} />}
            </Match>
            <Match when={known().setup_required}>
              <SetupRequired />
            </Match>
          </Switch>
        )}
      </Given>
      <Announcer />
    </>
  );
}

function Booting(props: { problem: ProblemError | null }): JSX.Element {
  return (
    <main class="centre">
      <Given
        value={props.problem}
        fallback={
          <div class="booting" role="status">
            <Mark isBusy class="mark-large" />
            <span class="visually-hidden">{t("boot.loading")}</span>
          </div>
        }
      >
        {(problem) => (
          <div class="panel-narrow">
            <ProblemBox title={t("boot.failed")} problem={problem()} safe={t("boot.again")} />
          </div>
        )}
      </Given>
    </main>
  );
}

function SignedIn(props: { account: Account; onSignedOut(): void }): JSX.Element {
  const [features, setFeatures] = createSignal<Features | null | undefined>(undefined);
  onMount(() => api.features().then(setFeatures, () => setFeatures(null)));
  return (
    <Show when={features() !== undefined} fallback={<Booting problem={null} />}>
      <WithApp account={props.account} features={features() ?? null} onSignedOut={props.onSignedOut} />
    </Show>
  );
}

// Only who opens the bare address is led on; a link, and the way back home, lead where they say.
const isBare = window.location.hash === "";

function land(app: App): void {
  const found = landing(app.features, app.list.sessions, remembered(app.account.id));
  if (!found || window.location.hash !== "") return;
  go(sessionPath(found.session.id), { replace: true });
  // A refusal shows on the session's page, which offers to resume it.
  if (found.resume) api.resumeSession(found.session.id).then(app.list.put, () => {});
}

function WithApp(props: { account: Account; features: Features | null; onSignedOut(): void }): JSX.Element {
  const app = createApp({ ...props });
  createEffect(() => {
    void app.list.refresh().then(() => isBare && land(app));
    void app.models.refresh();
  });
  createEffect(() => {
    const here = route();
    if (here.page === "session") remember(app.account.id, here.id);
  });
  return (
    <AppProvider value={app}>
      <Renderers.Provider value={app.panels.forTool}>
        <Shell />
      </Renderers.Provider>
    </AppProvider>
  );
}
