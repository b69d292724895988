import { createEffect, createSignal, type JSX, on, onCleanup, onMount, Show } from "solid-js";
import { usd, type Wallet } from "../../api/budget";
import { api } from "../../api/client";
import { money, t } from "../../i18n";
import { Given } from "../../ui/given";
import { Icon } from "../../ui/icon";

const EVERY_MS = 15_000;
const NEARLY = 0.8;

/** What the session has cost, of what it may cost where that is limited. A warning once it runs low. */
export function Spent(props: { session: string; cost: number }): JSX.Element {
  const [wallet, setWallet] = createSignal<Wallet | null>(null);
  let isKnown = true;
  const refresh = async () => {
    if (!isKnown || !props.session || document.hidden) return;
    const found = await api.sessionBudget(props.session).catch(() => null);
    isKnown = found !== null;
    setWallet(found?.wallets.find((one) => one.kind === "session") ?? null);
  };
  onMount(() => {
    const timer = setInterval(() => void refresh(), EVERY_MS);
    onCleanup(() => clearInterval(timer));
  });
  createEffect(on([() => props.session, () => props.cost], () => void refresh()));
  const spent = () => Math.max(props.cost, usd(wallet()?.spent_nusd ?? 0));
  const limit = () => wallet()?.limit_nusd ?? null;
  const isLow = () => {
    const most = limit();
    return most !== null && spent() >= usd(most) * NEARLY;
  };
  return (
    <a
      class="strip-fact strip-link"
      classList={{ "strip-warn": isLow() }}
      href="#/budget"
      title={isLow() ? t("strip.low") : t("strip.cost")}
    >
      <Show when={isLow()}>
        <Icon name="wallet" />
      </Show>
      {money(spent())}{" "}
      <Given value={limit()}>
        {(most) => (
          <span classList={{ "strip-wide": !isLow() }}>{t("strip.of", { limit: money(usd(most())) })}</span>
        )}
      </Given>
    </a>
  );
}
