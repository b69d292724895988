import { For, type JSX, Match, Show, Switch } from "solid-js";
import { t } from "../../i18n";
import type { Letter } from "../../state/outbox";
import { Icon } from "../../ui/icon";

/** A message that the server has not confirmed yet: where it is, and what can be done. */
export function LetterBubble(props: { letter: Letter; onRetry(): void; onDiscard(): void }): JSX.Element {
  return (
    <article class="message message-user" aria-label={t("letter.label")}>
      <div class="bubble bubble-pending">
        <For each={props.letter.images}>
          {(image) => (
            <img
              class="picture"
              src={`data:${image.media_type};base64,${image.data}`}
              alt={t("message.image")}
            />
          )}
        </For>
        <p class="plain">{props.letter.text}</p>
      </div>
      <p class="letter-state small muted">
        <Switch>
          <Match when={props.letter.delivery === "sending"}>{t("letter.sending")}</Match>
          <Match when={props.letter.delivery === "waiting"}>
            {t(props.letter.isStored ? "letter.waiting" : "letter.waitingTab")}
          </Match>
          <Match when={props.letter.delivery === "failed"}>
            <span class="field-error">
              <Icon name="alert" />
              {t("letter.failed", { why: props.letter.problem })}
            </span>
          </Match>
        </Switch>
        <Show when={props.letter.delivery === "failed"}>
          <button type="button" class="btn btn-small" onClick={() => props.onRetry()}>
            {t("ui.retry")}
          </button>
        </Show>
        <Show when={props.letter.delivery === "failed" || props.letter.delivery === "waiting"}>
          <button type="button" class="btn btn-small btn-quiet" onClick={() => props.onDiscard()}>
            {t("letter.takeBack")}
          </button>
        </Show>
      </p>
    </article>
  );
}
