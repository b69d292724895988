import { createSignal, type JSX, onMount, Show } from "solid-js";
import { api } from "../../api/client";
import type { ProblemError } from "../../api/problem";
import type { Account } from "../../api/rest";
import { duration, t } from "../../i18n";
import { createAction } from "../../ui/action";
import { createClock } from "../../ui/clock";
import { Field } from "../../ui/field";
import { Given } from "../../ui/given";
import { Icon, Mark } from "../../ui/icon";
import { ProblemBox } from "../../ui/problem";
import { Frame } from "./frame";

export function SignIn(props: { wasSignedOut: boolean; onSignedIn(account: Account): void }): JSX.Element {
  const [name, setName] = createSignal("");
  const [password, setPassword] = createSignal("");
  const [lockedUntilMs, setLockedUntilMs] = createSignal(0);
  const now = createClock();
  let form!: HTMLFormElement;
  onMount(() => form.querySelector("input")?.focus());

  const action = createAction(async () => {
    try {
      props.onSignedIn(await api.login(name().trim(), password()));
    } catch (reason) {
      const problem = reason as ProblemError;
      if (problem.status === 429) setLockedUntilMs(Date.now() + (problem.retryAfterS ?? 30) * 1000);
      form.querySelector<HTMLInputElement>("input[type=password]")?.select();
      throw reason;
    }
  });

  const waitMs = () => Math.max(0, lockedUntilMs() - now());
  const isWrong = () => action.problem()?.status === 401;
  const other = () => {
    const problem = action.problem();
    return problem && !isWrong() && problem.status !== 429 ? problem : null;
  };

  return (
    <Frame title={t("signin.title")} lead={t("signin.lead")}>
      <Show when={props.wasSignedOut}>
        <div class="callout" role="status">
          <Icon name="info" />
          <p>{t("signin.expired")}</p>
        </div>
      </Show>
      <form
        ref={form}
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (waitMs() === 0) void action.run();
        }}
      >
        <Field
          label={t("signin.name")}
          name="username"
          autocomplete="username"
          autocapitalize="none"
          spellcheck={false}
          required
          value={name()}
          onText={setName}
        />
        <Field
          label={t("signin.password")}
          name="password"
          type="password"
          autocomplete="current-password"
          required
          value={password()}
          onText={setPassword}
          error={isWrong() ? t("signin.wrong") : undefined}
        />
        <Show when={waitMs() > 0}>
          <div class="callout callout-warning" role="alert">
            <Icon name="alert" />
            <p>
              {t("signin.locked")}{" "}
              <span aria-live="off">{t("signin.wait", { time: duration(waitMs()) })}</span>
            </p>
          </div>
        </Show>
        <Given value={other()}>
          {(problem) => <ProblemBox title={t("signin.failed")} problem={problem()} />}
        </Given>
        <button type="submit" class="btn btn-primary btn-large" disabled={action.isBusy() || waitMs() > 0}>
          <Show when={action.isBusy()}>
            <Mark isBusy class="mark-inline" />
          </Show>
          {action.isBusy() ? t("signin.busy") : t("signin.action")}
        </button>
      </form>
      <p class="small muted">{t("signin.forgot")}</p>
    </Frame>
  );
}
