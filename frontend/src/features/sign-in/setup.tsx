import { createSignal, type JSX, onMount, Show } from "solid-js";
import { api } from "../../api/client";
import type { Account } from "../../api/rest";
import { t } from "../../i18n";
import { go } from "../../state/route";
import { createAction } from "../../ui/action";
import { Field } from "../../ui/field";
import { Given } from "../../ui/given";
import { Icon, Mark } from "../../ui/icon";
import { ProblemBox } from "../../ui/problem";
import { Frame } from "./frame";

export const MIN_PASSWORD = 8;

interface SetupProps {
  token: string;
  /** False once an account exists: the link has done its work. */
  isOpen: boolean;
  onSignedIn(account: Account): void;
}

/** The page behind the one-time link that the terminal printed. */
export function Setup(props: SetupProps): JSX.Element {
  return (
    <Show when={props.isOpen} fallback={<AlreadySetUp />}>
      <SetupForm token={props.token} onSignedIn={props.onSignedIn} />
    </Show>
  );
}

function AlreadySetUp(): JSX.Element {
  return (
    <Frame title={t("setup.doneTitle")} lead={t("setup.doneLead")}>
      <button type="button" class="btn btn-primary btn-large" onClick={() => go("#/", { replace: true })}>
        {t("setup.toSignIn")}
      </button>
    </Frame>
  );
}

function SetupForm(props: { token: string; onSignedIn(account: Account): void }): JSX.Element {
  const [name, setName] = createSignal("");
  const [password, setPassword] = createSignal("");
  const [wasTried, setTried] = createSignal(false);
  const [isShown, setShown] = createSignal(false);
  let form!: HTMLFormElement;
  onMount(() => form.querySelector("input")?.focus());

  const nameError = () => (wasTried() && !name().trim() ? t("setup.nameMissing") : undefined);
  const passwordError = () =>
    wasTried() && password().length < MIN_PASSWORD
      ? t("setup.passwordShort", { least: MIN_PASSWORD, left: MIN_PASSWORD - password().length })
      : undefined;

  const action = createAction(async () => {
    props.onSignedIn(await api.setup(props.token, name().trim(), password()));
  });

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    setTried(true);
    if (nameError() || passwordError()) form.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
    else void action.run();
  };

  return (
    <Frame title={t("setup.title")} lead={t("setup.lead")}>
      <form ref={form} class="stack" novalidate onSubmit={submit}>
        <Field
          label={t("setup.name")}
          hint={t("setup.nameHint")}
          name="username"
          autocomplete="username"
          autocapitalize="none"
          spellcheck={false}
          value={name()}
          onText={setName}
          error={nameError()}
        />
        <Field
          label={t("setup.password")}
          hint={t("setup.passwordHint", { least: MIN_PASSWORD })}
          name="new-password"
          type={isShown() ? "text" : "password"}
          autocomplete="new-password"
          value={password()}
          onText={setPassword}
          error={passwordError()}
        />
        <label class="row">
          <input
            type="checkbox"
            class="check"
            checked={isShown()}
            onChange={(e) => setShown(e.currentTarget.checked)}
          />
          {t("setup.show")}
        </label>
        <Given value={action.problem()}>
          {(problem) => <ProblemBox title={t("setup.failed")} problem={problem()} safe={t("setup.kept")} />}
        </Given>
        <button type="submit" class="btn btn-primary btn-large" disabled={action.isBusy()}>
          <Show when={action.isBusy()}>
            <Mark isBusy class="mark-inline" />
          </Show>
          {action.isBusy() ? t("setup.busy") : t("setup.action")}
        </button>
      </form>
      <p class="row small muted">
        <Icon name="shield" />
        {t("setup.private")}
      </p>
    </Frame>
  );
}
