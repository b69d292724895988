import { For, type JSX, Show } from "solid-js";
import { t } from "../../i18n";

/** What waits inside the agent: read after this step, or after this turn. */
export function Queue(props: { steering: string[]; followUp: string[] }): JSX.Element {
  const all = () => [
    ...props.steering.map((text) => ({ text, when: t("queue.step") })),
    ...props.followUp.map((text) => ({ text, when: t("queue.turn") })),
  ];
  return (
    <Show when={all().length}>
      <section class="queue small" aria-label={t("queue.title")}>
        <ul>
          <For each={all()}>
            {(one) => (
              <li class="row">
                <span class="tag">{one.when}</span>
                <span class="truncate grow">{one.text}</span>
              </li>
            )}
          </For>
        </ul>
      </section>
    </Show>
  );
}
