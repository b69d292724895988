import { For, type JSX, Show } from "solid-js";
import { api } from "../../api/client";
import { type Key, t } from "../../i18n";
import { useApp } from "../../state/app";
import { go } from "../../state/route";
import { setTheme, type Theme, theme } from "../../state/theme";
import { Icon } from "../../ui/icon";
import { Menu, MenuItem } from "../../ui/menu";

const THEMES: Array<[Theme, Key]> = [
  ["system", "theme.system"],
  ["light", "theme.light"],
  ["dark", "theme.dark"],
];

export function AccountMenu(props: { onKeyboard(): void }): JSX.Element {
  const app = useApp();
  const signOut = () => api.logout().then(app.onSignedOut, app.onSignedOut);
  return (
    <div class="account">
      <Menu
        side="menu-up menu-start"
        title={t("account.menu", { name: app.account.name })}
        buttonClass="account-button"
        label={
          <>
            <span class="avatar" aria-hidden="true">
              {app.account.name.slice(0, 1).toUpperCase()}
            </span>
            <span class="truncate grow">{app.account.name}</span>
            <Icon name="down" />
          </>
        }
      >
        <p class="menu-heading">{t("theme.title")}</p>
        <For each={THEMES}>
          {([value, key]) => (
            <MenuItem isChosen={theme() === value} onPick={() => setTheme(value)}>
              <span class="grow">{t(key)}</span>
              {theme() === value && <Icon name="check" />}
            </MenuItem>
          )}
        </For>
        <hr class="menu-rule" />
        <MenuItem onPick={() => go("#/models")}>
          <Icon name="spark" />
          {t("account.models")}
        </MenuItem>
        <MenuItem onPick={() => go("#/budget")}>
          <Icon name="wallet" />
          {t("account.budget")}
        </MenuItem>
        <MenuItem onPick={() => go("#/account")}>
          <Icon name="user" />
          {t("account.settings")}
        </MenuItem>
        <Show when={app.account.role === "admin"}>
          <MenuItem onPick={() => go("#/config")}>
            <Icon name="tool" />
            {t("account.config")}
          </MenuItem>
          <MenuItem onPick={() => go("#/audit")}>
            <Icon name="shield" />
            {t("account.audit")}
          </MenuItem>
        </Show>
        <MenuItem onPick={() => props.onKeyboard()}>
          <Icon name="keyboard" />
          {t("account.keyboard")}
        </MenuItem>
        <hr class="menu-rule" />
        <MenuItem onPick={() => void signOut()}>
          <Icon name="external" />
          {t("account.signOut")}
        </MenuItem>
      </Menu>
    </div>
  );
}
