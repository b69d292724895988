import { type JSX, Show } from "solid-js";
import { usd, type Wallet } from "../../api/budget";
import { type Key, money, t } from "../../i18n";

const FULL = 100;
const NEARLY = 80;

/** What a wallet has spent of what it may, and what running calls have set aside. */
export function Meter(props: { wallet: Wallet; label: string }): JSX.Element {
  const limit = () => props.wallet.limit_nusd;
  const percent = (nusd: number) => Math.min(FULL, (nusd / Math.max(limit() ?? 0, 1)) * FULL);
  const spent = () => percent(props.wallet.spent_nusd);
  const held = () => Math.min(FULL - spent(), percent(props.wallet.held_nusd));
  const words = () => {
    const said = money(usd(props.wallet.spent_nusd));
    const most = limit();
    return most === null
      ? t("budget.free", { spent: said })
      : t("budget.of", { spent: said, limit: money(usd(most)) });
  };
  return (
    <div class="budget-meter stack-tight">
      <div class="row-wrap budget-line">
        <strong class="grow truncate">{props.label}</strong>
        <span class="budget-number">
          {words()} <span class="muted">{t(`budget.${props.wallet.window}` as Key)}</span>
        </span>
      </div>
      <Show when={limit() !== null}>
        <meter
          class="visually-hidden"
          aria-label={props.label}
          min={0}
          max={FULL}
          value={Math.round(spent())}
          aria-valuetext={words()}
        />
        <div
          class="budget-bar"
          classList={{ "budget-low": spent() >= NEARLY, "budget-out": spent() >= FULL }}
          aria-hidden="true"
        >
          <span class="budget-spent" style={{ width: `${spent()}%` }} />
          <span class="budget-held" style={{ width: `${held()}%` }} />
        </div>
      </Show>
      <p class="small muted">
        {props.wallet.calls === 1 ? t("budget.oneCall") : t("budget.calls", { count: props.wallet.calls })}
        <Show when={props.wallet.held_nusd > 0}>
          {" · "}
          {t("budget.held", { amount: money(usd(props.wallet.held_nusd)) })}
        </Show>
      </p>
    </div>
  );
}
