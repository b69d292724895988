import { createSignal, type JSX, onCleanup } from "solid-js";
import { t } from "../i18n";
import { announce } from "./announcer";
import { Icon } from "./icon";

export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByHand(text);
  }
}

// The clipboard interface needs a secure context; a plain address in a home network has none.
function copyByHand(text: string): boolean {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

export function CopyButton(props: { text(): string; label: string; class?: string }): JSX.Element {
  const [isDone, setDone] = createSignal(false);
  let timer: ReturnType<typeof setTimeout> | undefined;
  onCleanup(() => clearTimeout(timer));
  const copy = async () => {
    const done = await copyText(props.text());
    announce(t(done ? "ui.copied" : "ui.copyFailed"));
    setDone(done);
    timer = setTimeout(() => setDone(false), 1500);
  };
  return (
    <button
      type="button"
      class={`btn btn-quiet btn-small ${props.class ?? ""}`}
      title={props.label}
      onClick={copy}
    >
      <Icon name={isDone() ? "check" : "copy"} />
      <span class="visually-hidden">{props.label}</span>
    </button>
  );
}
