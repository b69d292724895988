import { type JSX, Show } from "solid-js";
import { type Key, t } from "../../i18n";
import { createClock } from "../../ui/clock";
import { Mark } from "../../ui/icon";

const STAGES: Array<[number, Key]> = [
  [12_000, "starting.long"],
  [5_000, "starting.agent"],
  [1_500, "starting.sandbox"],
  [0, "starting.begin"],
];
const CANCEL_AFTER_MS = 8_000;

/** What happens while an agent starts, in words; after a while with a way out. */
export function Starting(props: { onCancel(): void }): JSX.Element {
  const since = Date.now();
  const now = createClock(500);
  const passed = () => now() - since;
  const stage = () => STAGES.find(([from]) => passed() >= from)?.[1] ?? "starting.begin";
  return (
    <div class="starting" role="status">
      <Mark isBusy class="mark-large" />
      <p>{t(stage())}</p>
      <Show when={passed() > CANCEL_AFTER_MS}>
        <button type="button" class="btn" onClick={() => props.onCancel()}>
          {t("starting.cancel")}
        </button>
      </Show>
    </div>
  );
}
