import { For, type JSX } from "solid-js";
import { type Key, t } from "../../i18n";
import { Dialog } from "../../ui/dialog";

const isMac = /Mac|iPhone|iPad/.test(navigator.userAgent);
const mod = isMac ? "⌘" : "Ctrl";
const alt = isMac ? "⌥" : "Alt";

const KEYS: Array<[string[], Key]> = [
  [["Enter"], "keys.send"],
  [["Shift", "Enter"], "keys.newline"],
  [[alt, "Enter"], "keys.followUp"],
  [["Esc", "Esc"], "keys.stop"],
  [["N"], "keys.new"],
  [[mod, "B"], "keys.list"],
  [["J"], "keys.next"],
  [["K"], "keys.previous"],
  [["/"], "keys.composer"],
  [["End"], "keys.latest"],
  [["?"], "keys.sheet"],
];

export function KeyboardSheet(props: { onClose(): void }): JSX.Element {
  return (
    <Dialog title={t("keys.title")} onClose={props.onClose}>
      <dl class="keys">
        <For each={KEYS}>
          {([keys, what]) => (
            <div>
              <dt>{t(what)}</dt>
              <dd class="row">
                <For each={keys}>{(key) => <kbd class="kbd">{key}</kbd>}</For>
              </dd>
            </div>
          )}
        </For>
      </dl>
      <p class="small muted">{t("keys.note")}</p>
    </Dialog>
  );
}
