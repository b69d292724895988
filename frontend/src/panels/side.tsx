import { createSignal, For, type JSX, onCleanup, onMount, Show } from "solid-js";
import type { PanelView } from "../api/types.gen";
import { t } from "../i18n";
import { useApp } from "../state/app";
import { load, save } from "../state/storage";
import { Given } from "../ui/given";
import { Icon } from "../ui/icon";
import type { SessionFacts } from "./contract";
import { PanelHost } from "./host";
import { keyOf } from "./registry";

const KEY = "oqto.panel";
const TOGGLE = "side-toggle";
const WIDE = "(min-width: 1100px)";

/** Which panel stands beside the conversation. Remembered where there is room for both. */
export function createSide() {
  const app = useApp();
  const wide = matchMedia(WIDE);
  const [isWide, setWide] = createSignal(wide.matches);
  const [chosen, setChosen] = createSignal<string | null>(wide.matches ? load(KEY) : null);
  const onChange = () => setWide(wide.matches);
  wide.addEventListener("change", onChange);
  onCleanup(() => wide.removeEventListener("change", onChange));
  const panels = () => app.panels.at("session");
  const choose = (key: string | null) => {
    save(KEY, key);
    setChosen(key);
  };
  const first = () => {
    const [panel] = panels();
    return panel ? keyOf(panel) : null;
  };
  const panel = () => panels().find((one) => keyOf(one) === chosen());
  return {
    panels,
    panel,
    choose,
    toggle: () => choose(panel() ? null : first()),
    /** The conversation is there, and out of reach behind the panel. */
    covers: () => Boolean(panel()) && !isWide(),
  };
}

export type Side = ReturnType<typeof createSide>;

export function SideToggle(props: { side: Side }): JSX.Element {
  return (
    <Show when={props.side.panels().length > 0}>
      <button
        type="button"
        id={TOGGLE}
        class="btn btn-quiet btn-icon"
        aria-expanded={Boolean(props.side.panel())}
        aria-controls={props.side.panel() ? "side" : undefined}
        onClick={() => props.side.toggle()}
      >
        <Icon name="panel" />
        <span class="visually-hidden">{t("panel.toggle")}</span>
      </button>
    </Show>
  );
}

interface SideProps {
  side: Side;
  session: SessionFacts | undefined;
  onSuggest(text: string): void;
}

export function SidePanel(props: SideProps): JSX.Element {
  const close = () => {
    props.side.choose(null);
    document.getElementById(TOGGLE)?.focus();
  };
  const suggest = (text: string) => {
    // Where the panel covers the conversation, it makes way for what it has just suggested.
    if (props.side.covers()) close();
    props.onSuggest(text);
  };
  return (
    <Given value={props.side.panel()}>
      {(panel) => (
        <section id="side" class="side" aria-label={t("panel.side")}>
          <header class="side-head">
            <div class="side-tabs">
              <For each={props.side.panels()}>
                {(one) => <SideTab panel={one} isChosen={one === panel()} onPick={props.side.choose} />}
              </For>
            </div>
            <button
              type="button"
              ref={(button) => onMount(() => props.side.covers() && button.focus())}
              class="btn btn-quiet btn-icon"
              onClick={close}
            >
              <Icon name="close" />
              <span class="visually-hidden">{t("panel.close")}</span>
            </button>
          </header>
          <Show when={keyOf(panel())} keyed>
            <PanelHost panel={panel()} session={props.session} onSuggest={suggest} />
          </Show>
        </section>
      )}
    </Given>
  );
}

function SideTab(props: { panel: PanelView; isChosen: boolean; onPick(key: string): void }): JSX.Element {
  return (
    <button
      type="button"
      class="side-tab truncate"
      aria-pressed={props.isChosen}
      onClick={() => props.onPick(keyOf(props.panel))}
    >
      {props.panel.title}
    </button>
  );
}
