import { createSignal, createUniqueId, Index, type JSX, Match, Show, Switch } from "solid-js";
import { t, timeOfDay } from "../../i18n";
import type { MessageItem, PartView, ToolView } from "../../state/view";
import { CopyButton } from "../../ui/copy";
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

export const plainText = (message: MessageItem) =>
  message.parts.flatMap((part) => (part.kind === "text" ? [part.text] : [])).join("\n\n");

function UserMessage(props: { message: MessageItem }): JSX.Element {
  return (
    <article
      class="message message-user"
      aria-label={t("message.you", { time: timeOfDay(props.message.createdMs) })}
    >
      <div class="bubble">
        <Index each={props.message.parts}>{(part) => <UserPart part={part()} />}</Index>
      </div>
    </article>
  );
}

function UserPart(props: { part: PartView }): JSX.Element {
  return (
    <Switch>
      <Match when={props.part.kind === "text" && props.part}>
        {(part) => <p class="plain">{part().text}</p>}
      </Match>
      <Match when={props.part.kind === "image" && props.part}>{(part) => <Picture {...part()} />}</Match>
    </Switch>
  );
}

function Picture(props: { data: string; mimeType: string; alt: string }): JSX.Element {
  return (
    <img
      class="picture"
      src={`data:${props.mimeType};base64,${props.data}`}
      alt={props.alt || t("message.image")}
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
      <Index each={props.message.parts}>
        {(part, at) => (
          <AgentPart
            part={part()}
            tools={props.tools}
            isStreaming={props.message.isStreaming}
            isLast={at === props.message.parts.length - 1}
          />
        )}
      </Index>
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
      <Show when={!props.message.isStreaming && endsInText() && plainText(props.message)}>
        {(text) => (
          <div class="message-tools">
            <CopyButton text={text} label={t("message.copy")} />
          </div>
        )}
      </Show>
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
  const tool = () => (props.part.kind === "tool" ? props.tools[props.part.toolId] : undefined);
  return (
    <Switch>
      <Match when={props.part.kind === "text" && props.part}>
        {(part) => <Markdown text={part().text} />}
      </Match>
      <Match when={props.part.kind === "thinking" && props.part}>
        {(part) => <Thinking text={part().text} isGrowing={props.isStreaming && props.isLast} />}
      </Match>
      <Match when={tool()}>{(known) => <ToolCard tool={known()} />}</Match>
      <Match when={props.part.kind === "image" && props.part}>{(part) => <Picture {...part()} />}</Match>
      <Match when={props.part.kind === "other" && props.part}>
        {(part) => <pre class="tool-text">{`${part().name}\n${JSON.stringify(part().data, null, 2)}`}</pre>}
      </Match>
    </Switch>
  );
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
