import type { JSX } from "solid-js";
import { t } from "../../i18n";
import { go } from "../../state/route";
import { SourceChooser } from "./sources";

/** The first screen of a new account: without a model there is nothing to talk with. */
export function FirstRun(): JSX.Element {
  return (
    <div class="page">
      <header class="stack-tight">
        <p class="eyebrow">{t("first.step")}</p>
        <h1>{t("first.title")}</h1>
        <p class="muted lead">{t("first.lead")}</p>
      </header>
      <SourceChooser onAdded={() => go("#/new")} />
    </div>
  );
}
