import { createSignal, For, type JSX, Show } from "solid-js";
import { usd, type Wallet, type Window } from "../../api/budget";
import { api } from "../../api/client";
import { type Key, t } from "../../i18n";
import { createAction } from "../../ui/action";
import { announce } from "../../ui/announcer";
import { Field } from "../../ui/field";
import { Given } from "../../ui/given";
import { ProblemBox } from "../../ui/problem";
import { Meter } from "./meter";

const WINDOWS: Array<[Window, Key]> = [
  ["month", "budget.windowMonth"],
  ["week", "budget.windowWeek"],
  ["day", "budget.windowDay"],
  ["total", "budget.windowTotal"],
];

/** The purses of everybody, for admins: what they hold, and a limit to change. */
export function LimitsCard(props: { wallets: Wallet[]; onChanged(): void }): JSX.Element {
  const [open, setOpen] = createSignal("");
  return (
    <section class="card stack" aria-labelledby="budget-everybody">
      <h2 id="budget-everybody">{t("budget.everybody")}</h2>
      <p class="muted">{t("budget.everybodyText")}</p>
      <For each={props.wallets.map((wallet) => wallet.id)}>
        {(id) => (
          <Given value={props.wallets.find((wallet) => wallet.id === id)}>
            {(wallet) => (
              <div class="stack-tight">
                <div class="budget-owner">
                  <Meter wallet={wallet()} label={nameOf(wallet())} />
                  <button
                    type="button"
                    class="btn btn-small"
                    aria-expanded={open() === id}
                    aria-label={t("budget.change", { name: nameOf(wallet()) })}
                    onClick={() => setOpen(open() === id ? "" : id)}
                  >
                    {t("budget.changeShort")}
                  </button>
                </div>
                <Show when={open() === id}>
                  <LimitForm
                    wallet={wallet()}
                    onDone={() => {
                      setOpen("");
                      props.onChanged();
                    }}
                  />
                </Show>
              </div>
            )}
          </Given>
        )}
      </For>
    </section>
  );
}

export function nameOf(wallet: Wallet): string {
  if (wallet.kind === "platform") return t("budget.platformName");
  return wallet.kind === "group" ? t("budget.groupName", { name: wallet.name }) : wallet.name;
}

function LimitForm(props: { wallet: Wallet; onDone(): void }): JSX.Element {
  const first = props.wallet.limit_nusd;
  const [text, setText] = createSignal(first === null ? "" : String(usd(first)));
  const [window, setWindow] = createSignal<Window>(props.wallet.window);
  const isWrong = () => text().trim() !== "" && !(Number(text()) >= 0);
  const save = createAction(async () => {
    const limit = text().trim() === "" ? null : Number(text());
    await api.setLimit(props.wallet.id, { limit_usd: limit, window: window() });
    announce(t("budget.saved"));
    props.onDone();
  });
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (!isWrong()) void save.run();
  };
  return (
    <form class="budget-form" novalidate onSubmit={submit}>
      <Field
        label={t("budget.limitOf", { name: nameOf(props.wallet) })}
        hint={t("budget.limitHint")}
        inputmode="decimal"
        value={text()}
        onText={setText}
        error={isWrong() ? t("budget.wrongLimit") : undefined}
      />
      <div class="field">
        <label for="budget-window">{t("budget.windowOf", { name: nameOf(props.wallet) })}</label>
        <select
          id="budget-window"
          class="input"
          value={window()}
          onChange={(event) => setWindow(event.currentTarget.value as Window)}
        >
          <For each={WINDOWS}>{([value, key]) => <option value={value}>{t(key)}</option>}</For>
        </select>
      </div>
      <Given value={save.problem()}>
        {(problem) => <ProblemBox title={t("budget.notSaved")} problem={problem()} />}
      </Given>
      <div class="row-wrap">
        <button type="submit" class="btn btn-primary" disabled={save.isBusy()}>
          {t("ui.save")}
        </button>
        <button type="button" class="btn" onClick={() => props.onDone()}>
          {t("ui.cancel")}
        </button>
      </div>
    </form>
  );
}
