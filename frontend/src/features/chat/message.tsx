import { createSignal, createUniqueId, For, type JSX, Match, Show, Switch } from "solid-js";
import { size, t, timeOfDay } from "../../i18n";
import type { MessageItem, PartView, ToolView } from "../../state/view";
import { CopyButton } from "../../ui/copy";
import { Given } from "../../ui/given";
import { Icon, Mark } from "../../ui/icon";
import { Markdown } from "./markdown";
import { ToolCard } from "./tool-card";

interface MessageProps {
  message: MessageItem;
  tools: Record<string, ToolView>;
}

export function Message(props: MessageProps): JSX.Element {
  return (
    <Switch fallback={<AgentMessage {...props} />}>
      <Match when={props.message.role === "user"}>
        <UserMessage message={props.message} />
      </Match>
      <Match when={props.message.role === "system"}>
        <SystemMessage message={props.message} />
      </Match>
    </Switch>
  );
}

const plainText = (message: MessageItem) =>
  message.parts.flatMap((part) => (part.kind === "text" ? [part.text] : [])).join("\n\n");

function UserMessage(props: { message: MessageItem }): JSX.Element {
  return (
    <article
      class="message message-user"
      aria-label={t("message.you", { time: timeOfDay(props.message.createdMs) })}
    >
      <div class="bubble">
        <For each={props.message.parts}>{(part) => <UserPart part={part} />}</For>
      </div>
    </article>
  );
}

// A part keeps its kind for as long as it lives, so the kind is asked once.
function UserPart(props: { part: PartView }): JSX.Element {
  const { part } = props;
  if (part.kind === "text") return <OwnText text={part.text} />;
  return part.kind === "image" ? <Picture picture={part} /> : null;
}

const FOLDED_CHARS = 4_000;
const SHOWN_CHARS = 1_200;

/** A pasted file is not read again: its beginning tells which one it was. */
function OwnText(props: { text: string }): JSX.Element {
  const [isWhole, setWhole] = createSignal(false);
  const isLong = () => props.text.length > FOLDED_CHARS;
  const shown = () => (isLong() && !isWhole() ? `${props.text.slice(0, SHOWN_CHARS)}…` : props.text);
  return (
    <>
      <p class="plain">{shown()}</p>
      <Show when={isLong()}>
        <button
          type="button"
          class="btn btn-small btn-quiet"
          aria-expanded={isWhole()}
          onClick={() => setWhole(!isWhole())}
        >
          {isWhole() ? t("tool.showLess") : t("tool.showAll", { size: size(props.text.length) })}
        </button>
      </Show>
    </>
  );
}

function Picture(props: { picture: Extract<PartView, { kind: "image" }> }): JSX.Element {
  return (
    <img
      class="picture"
      src={`data:${props.picture.mimeType};base64,${props.picture.data}`}
      alt={props.picture.alt || t("message.image")}
    />
  );
}

function SystemMessage(props: { message: MessageItem }): JSX.Element {
  return (
    <article class="message message-system small muted" aria-label={t("message.system")}>
      <p class="plain">{plainText(props.message)}</p>
    </article>
  );
}

function AgentMessage(props: MessageProps): JSX.Element {
  const endsInText = () => props.message.parts.at(-1)?.kind === "text";
  const isCutShort = () => props.message.stopReason === "length";
  const isAborted = () => props.message.stopReason === "aborted";
  return (
    <article
      class="message message-agent"
      classList={{ "is-streaming": props.message.isStreaming }}
      aria-label={t("message.agent", { time: timeOfDay(props.message.createdMs) })}
      aria-busy={props.message.isStreaming}
    >
      <For each={props.message.parts}>
        {(part, at) => (
          <AgentPart
            part={part}
            tools={props.tools}
            isStreaming={props.message.isStreaming}
            isLast={at() === props.message.parts.length - 1}
          />
        )}
      </For>
      <Show when={isCutShort()}>
        <p class="small muted row">
          <Icon name="info" />
          {t("message.cutShort")}
        </p>
      </Show>
      <Show when={isAborted()}>
        <p class="small muted row">
          <Icon name="stop" />
          {t("message.aborted")}
        </p>
      </Show>
      <Given value={!props.message.isStreaming && endsInText() && plainText(props.message)}>
        {(text) => (
          <div class="message-tools">
            <CopyButton text={text} label={t("message.copy")} />
          </div>
        )}
      </Given>
    </article>
  );
}

interface PartProps {
  part: PartView;
  tools: Record<string, ToolView>;
  isStreaming: boolean;
  isLast: boolean;
}

function AgentPart(props: PartProps): JSX.Element {
  const { part } = props;
  switch (part.kind) {
    case "text":
      return <Markdown text={part.text} />;
    case "thinking":
      return <Thinking text={part.text} isGrowing={props.isStreaming && props.isLast} />;
    case "tool":
      return <Given value={props.tools[part.toolId]}>{(tool) => <ToolCard tool={tool()} />}</Given>;
    case "image":
      return <Picture picture={part} />;
    default:
      return <pre class="tool-text">{`${part.name}\n${JSON.stringify(part.data, null, 2)}`}</pre>;
  }
}

function Thinking(props: { text: string; isGrowing: boolean }): JSX.Element {
  const [isOpen, setOpen] = createSignal(false);
  const id = createUniqueId();
  const gist = () => props.text.trim().split("\n")[0]?.replace(/\*\*/g, "") ?? "";
  return (
    <Show when={props.text.trim()}>
      <div class="thinking">
        <button
          type="button"
          class="thinking-head"
          aria-expanded={isOpen()}
          aria-controls={isOpen() ? id : undefined}
          onClick={() => setOpen(!isOpen())}
        >
          <Show when={props.isGrowing} fallback={<Icon name="thought" />}>
            <Mark isBusy class="mark-inline" />
          </Show>
          <span>{t("thinking.title")}</span>
          <Show when={!isOpen()}>
            <span class="truncate muted">{gist()}</span>
          </Show>
          <Icon name="chevron" class="turn faint" />
        </button>
        <Show when={isOpen()}>
          <div id={id} class="thinking-body plain">
            {props.text}
          </div>
        </Show>
      </div>
    </Show>
  );
}
