import type { JSX } from "solid-js";
import { t } from "../../i18n";
import { Icon } from "../../ui/icon";
import { Frame } from "./frame";

/** Nobody has an account yet, and this browser did not come by the one-time link. */
export function SetupRequired(): JSX.Element {
  return (
    <Frame title={t("needSetup.title")} lead={t("needSetup.lead")}>
      <div class="callout">
        <Icon name="terminal" />
        <div class="stack-tight grow">
          <p>{t("needSetup.where")}</p>
          <code class="code-line">{`${window.location.origin}/#/setup/…`}</code>
        </div>
      </div>
    </Frame>
  );
}
