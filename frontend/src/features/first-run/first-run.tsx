import { type JSX, Show } from "solid-js";
import { t } from "../../i18n";
import { PanelCards } from "../../panels/cards";
import { useApp } from "../../state/app";
import { go } from "../../state/route";
import { Icon } from "../../ui/icon";
import { SourceChooser } from "./sources";

/** The first screen of a new account: without a model there is nothing to talk with. */
export function FirstRun(): JSX.Element {
  const app = useApp();
  return (
    <Show when={app.account.role === "admin"} fallback={<AskAdmin />}>
      <div class="page">
        <header class="stack-tight">
          <p class="eyebrow">{t("first.step")}</p>
          <h1>{t("first.title")}</h1>
          <p class="muted lead">{t("first.lead")}</p>
        </header>
        <SourceChooser offersDemo onAdded={() => go("#/new")} />
        <PanelCards place="first-run" />
      </div>
    </Show>
  );
}

function AskAdmin(): JSX.Element {
  const app = useApp();
  return (
    <div class="page page-middle">
      <h1>{t("source.askTitle")}</h1>
      <p class="muted lead">{t("source.ask")}</p>
      <button type="button" class="btn" onClick={() => void app.models.refresh()}>
        <Icon name="refresh" />
        {t("ui.retry")}
      </button>
    </div>
  );
}
