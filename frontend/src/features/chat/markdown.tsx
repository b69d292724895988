import { createSignal, Index, type JSX, onMount } from "solid-js";
import { t } from "../../i18n";
import { announce } from "../../ui/announcer";
import { copyText } from "../../ui/copy";
import { toBlocks, useHighlight } from "./blocks";

const [isHighlighted, setHighlighted] = createSignal(false);
let loading: Promise<void> | null = null;

function loadHighlighter(): void {
  loading ??= import("./highlight").then((module) => {
    useHighlight(module.highlight);
    setHighlighted(true);
  });
  loading.catch(() => {
    loading = null;
  });
}

/** Markdown as it grows: only a block whose text has changed is drawn again. */
export function Markdown(props: { text: string }): JSX.Element {
  onMount(() => {
    if (props.text.includes("```")) loadHighlighter();
  });
  const blocks = () => {
    isHighlighted();
    if (!isHighlighted() && props.text.includes("```")) loadHighlighter();
    return toBlocks(props.text);
  };
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the click is that of the copy buttons inside
    // biome-ignore lint/a11y/noStaticElementInteractions: the click is that of the copy buttons inside
    <div class="prose" onClick={onClick}>
      <Index each={blocks()}>{(html) => <div class="block" innerHTML={html()} />}</Index>
    </div>
  );
}

function onClick(event: MouseEvent): void {
  const button = (event.target as HTMLElement).closest<HTMLButtonElement>("button.code-copy");
  const code = button?.closest(".code")?.querySelector("pre")?.textContent;
  if (!button || code === undefined || code === null) return;
  void copyText(code.replace(/\n$/, "")).then((done) => {
    announce(t(done ? "ui.copied" : "ui.copyFailed"));
    button.textContent = t(done ? "ui.copied" : "ui.copyFailed");
    setTimeout(() => {
      button.textContent = t("code.copy");
    }, 1500);
  });
}
