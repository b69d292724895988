import { createEffect, createMemo, createSignal, type JSX, onCleanup, onMount, Show } from "solid-js";
import { unwrap } from "solid-js/store";
import type { PanelView } from "../api/types.gen";
import { t } from "../i18n";
import { useApp } from "../state/app";
import { Icon } from "../ui/icon";
import { type Bridge, bridge } from "./bridge";
import { type Facts, type Oqto, type SessionFacts, type ToolFacts, VERSION } from "./contract";
import { fonts, shownTheme, style } from "./look";
import { powersOf } from "./powers";

const SILENT_MS = 10_000;

interface HostProps {
  panel: PanelView;
  session?: SessionFacts | undefined;
  tool?: ToolFacts;
  onSuggest?: (text: string) => void;
}

interface GuestProps {
  panel: PanelView;
  facts: Facts;
  onSuggest: ((text: string) => void) | undefined;
  onReady(): void;
  onFailed(reason: string): void;
}

/** One panel of a plugin, in the page when its plugin is trusted and in a sandboxed frame otherwise. */
export function PanelHost(props: HostProps): JSX.Element {
  const app = useApp();
  const [failure, setFailure] = createSignal("");
  const [isReady, setReady] = createSignal(false);
  const facts = createMemo(
    (): Facts => ({
      version: VERSION,
      plugin: props.panel.plugin,
      place: props.panel.place,
      theme: shownTheme(),
      account: { name: app.account.name, role: app.account.role === "admin" ? "admin" : "user" },
      session: props.session ?? null,
      tool: props.tool ? plain(props.tool) : null,
    }),
  );
  const guest = (): GuestProps => ({
    panel: props.panel,
    get facts() {
      return facts();
    },
    onSuggest: props.onSuggest,
    onReady: () => setReady(true),
    onFailed: setFailure,
  });
  return (
    <div class={`panel-host panel-at-${props.panel.place}`} aria-busy={!isReady() && !failure()}>
      <Show when={!failure()} fallback={<Broken panel={props.panel} reason={failure()} />}>
        {props.panel.frame ? <Framed {...guest()} /> : <InPage {...guest()} />}
      </Show>
    </div>
  );
}

/** Nothing of a store leaves it: a proxy cannot be sent, and what is sent must not change under its reader. */
const plain = (tool: ToolFacts): ToolFacts => ({
  id: tool.id,
  name: tool.name,
  state: tool.state,
  input: unwrap(tool.input),
  output: unwrap(tool.output),
});

function Framed(props: GuestProps): JSX.Element {
  const [height, setHeight] = createSignal(0);
  const [isShown, setShown] = createSignal(false);
  let frame!: HTMLIFrameElement;
  let link: Bridge | undefined;
  let silent: ReturnType<typeof setTimeout> | undefined;
  const current = () => ({ facts: props.facts, style: style() });

  onMount(() => {
    link = bridge(frame, powersOf(props.panel.plugin, props.onSuggest), current, fonts, {
      onReady: () => {
        clearTimeout(silent);
        setShown(true);
        props.onReady();
      },
      onFailed: props.onFailed,
      onSize: setHeight,
    });
  });
  createEffect(() => link?.tell(props.facts, style()));
  onCleanup(() => {
    clearTimeout(silent);
    link?.close();
  });
  // A page that is there has sent its greeting by now; a server that refused it has sent another page.
  const onLoad = () => {
    clearTimeout(silent);
    if (!isShown()) silent = setTimeout(() => props.onFailed(t("panel.silent")), SILENT_MS);
  };

  return (
    <iframe
      ref={frame}
      class="panel-frame"
      classList={{ "panel-frame-shown": isShown() }}
      src={props.panel.frame}
      sandbox="allow-scripts"
      referrerpolicy="no-referrer"
      loading="lazy"
      title={props.panel.title}
      style={props.panel.place === "session" ? {} : { height: `${height()}px` }}
      onLoad={onLoad}
    />
  );
}

type Panel = HTMLElement & { oqto?: Oqto };

function InPage(props: GuestProps): JSX.Element {
  let place!: HTMLDivElement;
  const powers = powersOf(props.panel.plugin, props.onSuggest);
  const [element, setElement] = createSignal<Panel | null>(null);
  onMount(async () => {
    const { module, element: name } = props.panel;
    try {
      await import(/* @vite-ignore */ module);
      if (!customElements.get(name)) throw new Error(t("panel.noElement", { module, name }));
      const panel: Panel = document.createElement(name);
      panel.oqto = { ...props.facts, ...powers };
      place.append(panel);
      setElement(panel);
      props.onReady();
    } catch (reason) {
      props.onFailed(reason instanceof Error ? reason.message : String(reason));
    }
  });
  createEffect(() => {
    const panel = element();
    if (panel) panel.oqto = { ...props.facts, ...powers };
  });
  return <div ref={place} class="panel-in-page" />;
}

function Broken(props: { panel: PanelView; reason: string }): JSX.Element {
  return (
    <div class="callout callout-error" role="alert">
      <Icon name="alert" />
      <div class="stack-tight grow">
        <strong>{t("panel.failed", { title: props.panel.title })}</strong>
        <p>{props.reason}</p>
        <p class="muted small">{t("panel.failedSafe", { plugin: props.panel.plugin })}</p>
      </div>
    </div>
  );
}
