import { For, type JSX } from "solid-js";
import { type Key, t } from "../../i18n";
import { Mark } from "../../ui/icon";

const PROMPTS: Key[] = ["empty.look", "empty.explain", "empty.tests"];

export function Empty(props: { folder: string; onPick(prompt: string): void }): JSX.Element {
  return (
    <div class="chat-empty">
      <Mark class="mark-large" />
      <h2>{t("empty.title", { folder: props.folder || t("empty.folder") })}</h2>
      <p class="muted">{t("empty.text")}</p>
      <ul class="prompts">
        <For each={PROMPTS}>
          {(key) => (
            <li>
              <button type="button" class="btn prompt" onClick={() => props.onPick(t(key))}>
                {t(key)}
              </button>
            </li>
          )}
        </For>
      </ul>
    </div>
  );
}
