import { createEffect, createSignal, type JSX, on, onCleanup, onMount } from "solid-js";
import { api } from "../../api/client";
import type { ConfigStatus } from "../../api/types.gen";
import { t } from "../../i18n";
import { useApp } from "../../state/app";
import { go, route } from "../../state/route";
import { announce } from "../../ui/announcer";
import { Given } from "../../ui/given";
import { Icon } from "../../ui/icon";

const LOOK_EVERY_MS = 5_000;

/** Tells an admin on every screen that the configuration file was refused. */
export function ConfigBanner(): JSX.Element {
  const app = useApp();
  const [status, setStatus] = createSignal<ConfigStatus | null>(null);
  const look = () => {
    if (document.visibilityState === "visible") api.configStatus().then(setStatus, () => {});
  };
  onMount(() => {
    if (app.account.role !== "admin") return;
    look();
    const timer = setInterval(look, LOOK_EVERY_MS);
    onCleanup(() => clearInterval(timer));
  });
  // The page itself says more.
  const error = () => (route().page === "config" ? "" : status()?.error);
  createEffect(on(error, (now) => now && announce(t("config.bannerText"))));
  return (
    <Given value={error()}>
      {(words) => (
        <div class="banner">
          <Icon name="alert" />
          <p class="grow">
            {t("config.bannerText")} <span class="muted">{words()}</span>
          </p>
          <button type="button" class="btn btn-small" onClick={() => go("#/config")}>
            {t("config.bannerAction")}
          </button>
        </div>
      )}
    </Given>
  );
}
