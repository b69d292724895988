import {
  createEffect,
  createMemo,
  createSignal,
  For,
  type JSX,
  on,
  onCleanup,
  onMount,
  Show,
} from "solid-js";
import { t } from "../../i18n";
import type { Letter } from "../../state/outbox";
import type { Item, SessionView } from "../../state/view";
import { Icon, Mark } from "../../ui/icon";
import { LetterBubble } from "./letter";
import { Message } from "./message";
import { Notice } from "./notice";

// Only the end of a long conversation is in the page; scrolling up brings more, a page at a time.
const PAGE_ITEMS = 80;
const NEAR_PX = 48;

interface TranscriptProps {
  view: SessionView;
  letters: Letter[];
  /** Says what the agent is doing when nothing else moves on the screen. */
  activity: string;
  onAbortRetry(): void;
  onRetryLetter(letter: Letter): void;
  onDiscardLetter(letter: Letter): void;
  children?: JSX.Element;
}

export function Transcript(props: TranscriptProps): JSX.Element {
  const [shownFrom, setShownFrom] = createSignal<number | null>(null);
  const [isAtEnd, setAtEnd] = createSignal(true);
  const [hasNew, setHasNew] = createSignal(false);
  let scroller!: HTMLDivElement;
  let content!: HTMLDivElement;

  const total = () => props.view.items.length;
  // Counted from the start, so that new messages do not push old ones out while somebody reads them.
  const from = createMemo(() => Math.min(shownFrom() ?? Math.max(0, total() - PAGE_ITEMS), total()));
  const items = createMemo(() => props.view.items.slice(from()));

  const toEnd = () => {
    scroller.scrollTop = scroller.scrollHeight;
    setHasNew(false);
  };
  const jump = () => {
    setShownFrom(null);
    setAtEnd(true);
    toEnd();
  };
  const onScroll = () => {
    const rest = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    const atEnd = rest < NEAR_PX;
    if (atEnd !== isAtEnd()) {
      setAtEnd(atEnd);
      setShownFrom(atEnd && from() >= total() - 2 * PAGE_ITEMS ? null : from());
    }
    if (atEnd) setHasNew(false);
    if (scroller.scrollTop < 600) showEarlier();
  };
  const showEarlier = () => {
    if (from() === 0) return;
    const before = scroller.scrollHeight - scroller.scrollTop;
    setShownFrom(Math.max(0, from() - PAGE_ITEMS));
    scroller.scrollTop = scroller.scrollHeight - before;
  };

  onMount(() => {
    const observer = new ResizeObserver(() => {
      if (isAtEnd()) toEnd();
    });
    observer.observe(content);
    observer.observe(scroller);
    onCleanup(() => observer.disconnect());
    window.addEventListener("keydown", onKey);
    onCleanup(() => window.removeEventListener("keydown", onKey));
  });
  createEffect(
    on(
      () => props.view.seq,
      () => !isAtEnd() && setHasNew(true),
      { defer: true },
    ),
  );
  // What somebody has just written is what they want to see.
  createEffect(
    on(
      () => props.letters.length,
      (count, before) => count > (before ?? 0) && toEnd(),
      { defer: true },
    ),
  );

  const onKey = (event: KeyboardEvent) => {
    const isFree = !(event.target as HTMLElement).closest("input, textarea, select, [role=menu], dialog");
    if (!isFree || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "j") step(scroller, 1);
    else if (event.key === "k") step(scroller, -1);
    else if (event.key === "End") jump();
    else return;
    event.preventDefault();
  };

  return (
    <div class="transcript-frame">
      <div
        ref={scroller}
        class="transcript"
        role="log"
        aria-live="off"
        aria-label={t("chat.log")}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
        tabIndex={0}
        onScroll={onScroll}
      >
        <div ref={content} class="column">
          <Show when={from() > 0}>
            <button type="button" class="btn btn-quiet earlier" onClick={showEarlier}>
              {t("chat.earlier", { count: from() })}
            </button>
          </Show>
          <For each={items()}>
            {(item) => <Entry item={item} view={props.view} onAbortRetry={props.onAbortRetry} />}
          </For>
          <For each={props.letters}>
            {(letter) => (
              <LetterBubble
                letter={letter}
                onRetry={() => props.onRetryLetter(letter)}
                onDiscard={() => props.onDiscardLetter(letter)}
              />
            )}
          </For>
          <Show when={props.activity}>
            <p class="activity muted small">
              <Mark isBusy class="mark-inline" />
              {props.activity}
            </p>
          </Show>
          {props.children}
        </div>
      </div>
      <Show when={!isAtEnd()}>
        <button type="button" class="btn to-latest" onClick={jump}>
          <Icon name="arrowDown" />
          {hasNew() ? t("chat.newBelow") : t("chat.latest")}
        </button>
      </Show>
    </div>
  );
}

function Entry(props: { item: Item; view: SessionView; onAbortRetry(): void }): JSX.Element {
  const item = props.item;
  if (item.type === "message") return <Message message={item} tools={props.view.tools} />;
  // While the session is over, the card at the end says why, and more.
  const isToldBelow = () => {
    const { closed, items } = props.view;
    if (!closed || items.at(-1)?.type === "message") return false;
    return items.at(-1) === item
      ? item.notice === "closed"
      : items.at(-2) === item && item.notice === "error" && item.text === closed.detail;
  };
  return (
    <Show when={!isToldBelow()}>
      <Notice notice={item} onAbortRetry={props.onAbortRetry} />
    </Show>
  );
}

/** Moves the focus to the next or previous message. */
function step(scroller: HTMLElement, by: 1 | -1): void {
  const articles = [...scroller.querySelectorAll<HTMLElement>("article")];
  const here = articles.indexOf(document.activeElement?.closest("article") as HTMLElement);
  const next = here < 0 ? articles[by > 0 ? 0 : articles.length - 1] : articles[here + by];
  if (!next) return;
  next.tabIndex = -1;
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}
