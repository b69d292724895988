import { createEffect, createSignal, type JSX, on, Show } from "solid-js";
import { t, timeOfDay } from "../i18n";
import { useApp } from "../state/app";
import { announce } from "../ui/announcer";
import { createClock } from "../ui/clock";
import { Given } from "../ui/given";
import { Icon } from "../ui/icon";

const SHOW_AFTER_MS = 1_200;

/** Says that the line is cut, what still works, and when the next try is. A blink of the network stays unseen. */
export function ConnectionBanner(): JSX.Element {
  const app = useApp();
  const now = createClock(500);
  const [wasShown, setWasShown] = createSignal(false);
  const cutMs = () => {
    const lost = app.lostAtMs();
    return lost === null ? 0 : now() - lost;
  };
  const isShown = () => cutMs() > SHOW_AFTER_MS;
  const retryInS = () => Math.max(0, Math.ceil(((app.retryAtMs() ?? now()) - now()) / 1000));
  const waiting = () => app.post.outbox().filter((letter) => letter.delivery === "waiting").length;

  createEffect(
    on(isShown, (shown) => {
      if (shown) announce(t("line.cutShort"));
      else if (wasShown()) announce(t("line.back"));
      setWasShown(shown);
    }),
  );

  return (
    <Show when={isShown()}>
      <div class="banner">
        <Icon name="alert" />
        <p class="grow">
          {t("line.cut", { time: timeOfDay(app.lostAtMs() ?? now()) })}{" "}
          <Given value={waiting()}>{(count) => t("line.unsent", { count: count() })}</Given>
        </p>
        <button type="button" class="btn btn-small" onClick={() => app.mux.hurry()}>
          {app.connection() === "waiting" && retryInS() > 0
            ? t("line.retryIn", { seconds: retryInS() })
            : t("line.now")}
        </button>
      </div>
    </Show>
  );
}
