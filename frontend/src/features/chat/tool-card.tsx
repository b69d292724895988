import { createSignal, createUniqueId, For, type JSX, Show, useContext } from "solid-js";
import { duration, size, t } from "../../i18n";
import { PanelHost } from "../../panels/host";
import { Renderers } from "../../panels/renderers";
import type { ToolState, ToolView } from "../../state/view";
import { createClock } from "../../ui/clock";
import { CopyButton } from "../../ui/copy";
import { Given } from "../../ui/given";
import { Icon, type IconName, Mark } from "../../ui/icon";
import { inputText, toOutput, toolIcon, toolTitle } from "./tool-words";

const SHORT_CHARS = 6_000;
const SHORT_LINES = 60;

/** One use of a tool: what it did in a line, and everything it was given and said behind it. */
export function ToolCard(props: { tool: ToolView }): JSX.Element {
  const rendererOf = useContext(Renderers);
  const renderer = () => rendererOf(props.tool.name);
  // What a plugin shows of a tool is there to be seen; only the raw call waits to be asked for.
  const [chosen, setChosen] = createSignal<boolean | null>(null);
  const isOpen = () => chosen() ?? Boolean(renderer());
  const id = createUniqueId();
  const isBusy = () => props.tool.state === "running" || isPreparing(props.tool);
  return (
    <div class={`tool tool-${props.tool.state}`} classList={{ "tool-busy": isBusy() }}>
      <button
        type="button"
        class="tool-head"
        aria-expanded={isOpen()}
        aria-controls={isOpen() ? id : undefined}
        onClick={() => setChosen(!isOpen())}
      >
        <Icon name={toolIcon(props.tool.name)} />
        <span class="tool-title truncate">{toolTitle(props.tool)}</span>
        <span class="tool-state small">
          <Show when={isBusy()} fallback={<StateIcon state={props.tool.state} />}>
            <Mark isBusy class="mark-inline" />
          </Show>
          <span>{stateText(props.tool)}</span>
          <Show when={props.tool.state === "running" && props.tool.startedMs}>
            <Running sinceMs={props.tool.startedMs} />
          </Show>
        </span>
        <Icon name="chevron" class="turn faint" />
      </button>
      <Show when={props.tool.state === "error" && !isOpen()}>
        <p class="tool-error-line mono truncate">{firstLine(toOutput(props.tool.output).text)}</p>
      </Show>
      <Show when={isOpen()}>
        <div id={id} class="tool-body">
          <Given value={renderer()} fallback={<Raw tool={props.tool} />}>
            {(panel) => (
              <>
                <PanelHost panel={panel()} tool={props.tool} />
                <details class="tool-raw">
                  <summary class="small muted">{t("tool.raw")}</summary>
                  <Raw tool={props.tool} />
                </details>
              </>
            )}
          </Given>
        </div>
      </Show>
    </div>
  );
}

function Raw(props: { tool: ToolView }): JSX.Element {
  return (
    <>
      <LongText label={t("tool.input")} text={inputText(props.tool)} />
      <ToolOutput tool={props.tool} />
    </>
  );
}

const firstLine = (text: string) => text.trim().split("\n").find(Boolean) ?? "";

/** Its input is still being written; after that it waits for its turn. */
const isPreparing = (tool: ToolView) => tool.state === "preparing" && tool.input === null;

const ICONS: Partial<Record<ToolState, IconName>> = {
  success: "check",
  error: "alert",
  stopped: "stop",
  preparing: "chevron",
};

function StateIcon(props: { state: ToolState }): JSX.Element {
  return <Icon name={ICONS[props.state] ?? "check"} />;
}

function stateText(tool: ToolView): string {
  switch (tool.state) {
    case "preparing":
      return t(isPreparing(tool) ? "tool.preparing" : "tool.next");
    case "running":
      return t("tool.running");
    case "error":
      return withTime(t("tool.failed"), tool.durationMs);
    case "stopped":
      return t("tool.stopped");
    default:
      return withTime(t("tool.done"), tool.durationMs);
  }
}

const withTime = (words: string, ms: number | null) => (ms === null ? words : `${words} · ${duration(ms)}`);

function Running(props: { sinceMs: number }): JSX.Element {
  const now = createClock();
  const passed = () => Math.max(0, now() - props.sinceMs);
  return <Show when={passed() > 2000}>· {duration(Math.floor(passed() / 1000) * 1000)}</Show>;
}

function ToolOutput(props: { tool: ToolView }): JSX.Element {
  const output = () => toOutput(props.tool.output);
  return (
    <>
      <Show
        when={output().text}
        fallback={<EmptyOutput tool={props.tool} hasImages={output().images.length > 0} />}
      >
        <LongText
          label={props.tool.state === "error" ? t("tool.errorOutput") : t("tool.output")}
          text={output().text}
        />
      </Show>
      <For each={output().images}>
        {(image) => (
          <img
            class="tool-image"
            src={`data:${image.mimeType};base64,${image.data}`}
            alt={t("tool.image", { name: props.tool.name })}
          />
        )}
      </For>
    </>
  );
}

function EmptyOutput(props: { tool: ToolView; hasImages: boolean }): JSX.Element {
  return (
    <Show when={!props.hasImages && (props.tool.state === "success" || props.tool.state === "error")}>
      <p class="small muted">{t("tool.noOutput")}</p>
    </Show>
  );
}

/** Text that may be very long: its end first, all of it on demand. */
function LongText(props: { label: string; text: string }): JSX.Element {
  const [isWhole, setWhole] = createSignal(false);
  const shown = () => (isWhole() ? props.text : shorten(props.text));
  const isCut = () => shown().length < props.text.length;
  return (
    <Show when={props.text}>
      <div class="tool-part">
        <div class="row small muted">
          <span class="grow">{props.label}</span>
          <CopyButton text={() => props.text} label={t("tool.copy", { what: props.label })} />
        </div>
        <pre class="tool-text" tabindex="0">
          {shown()}
        </pre>
        <Show when={isCut() || isWhole()}>
          <button
            type="button"
            class="btn btn-small"
            aria-expanded={isWhole()}
            onClick={() => setWhole(!isWhole())}
          >
            {isWhole() ? t("tool.showLess") : t("tool.showAll", { size: size(props.text.length) })}
          </button>
        </Show>
      </div>
    </Show>
  );
}

export function shorten(text: string): string {
  const lines = text.split("\n", SHORT_LINES + 1);
  const some = lines.length > SHORT_LINES ? lines.slice(0, SHORT_LINES).join("\n") : text;
  return some.slice(0, SHORT_CHARS);
}
