import { createEffect, createSignal, For, type JSX, on, onCleanup, onMount, Show } from "solid-js";
import { t } from "../../i18n";
import type { SendAs } from "../../state/outbox";
import { load, save } from "../../state/storage";
import { Icon } from "../../ui/icon";
import { type Attached, attach, imageFiles, MOST_IMAGES, NotAPicture } from "./attachments";
import { createSlash, type SlashCommands, SlashList } from "./slash";

interface ComposerProps {
  sessionId: string;
  accountId: string;
  isWorking: boolean;
  isStopping: boolean;
  takesImages: boolean;
  placeholder: string;
  suggestion: string;
  commands: SlashCommands;
  onSend(sendAs: SendAs, text: string, images: Attached[]): void;
  onStop(): void;
}

export const draftKey = (accountId: string, sessionId: string) => `oqto.draft.${accountId}.${sessionId}`;

export function Composer(props: ComposerProps): JSX.Element {
  const key = () => draftKey(props.accountId, props.sessionId);
  const [text, setText] = createSignal(load(key()) ?? "");
  const [images, setImages] = createSignal<Attached[]>([]);
  const [complaint, setComplaint] = createSignal("");
  const [isOver, setOver] = createSignal(false);
  let area!: HTMLTextAreaElement;
  let picker!: HTMLInputElement;

  const slash = createSlash({ text, commands: () => props.commands, onText: setText });

  const grow = () => {
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  };
  createEffect(on(text, (now) => save(key(), now || null), { defer: true }));
  createEffect(on(text, grow));
  createEffect(
    on(
      () => props.suggestion,
      (words) => {
        if (!words) return;
        setText(words);
        area.focus();
      },
    ),
  );
  onMount(() => {
    if (matchMedia("(pointer: fine)").matches) area.focus({ preventScroll: true });
    window.addEventListener("keydown", onWindowKey);
    onCleanup(() => window.removeEventListener("keydown", onWindowKey));
  });

  const canSend = () => text().trim() !== "" || images().length > 0;
  const send = (sendAs: SendAs) => {
    if (!canSend()) return;
    props.onSend(sendAs, text(), images());
    setText("");
    setImages([]);
    setComplaint("");
    area.focus();
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (slash.onKey(event)) return;
    // Enter that ends a composition (Japanese, Chinese, …) belongs to the input method; Safari says so by 229 only.
    if (event.key !== "Enter" || event.isComposing || event.keyCode === 229 || event.shiftKey) return;
    event.preventDefault();
    if (!props.isWorking) send("prompt");
    else send(event.altKey ? "follow_up" : "steer");
  };
  const onWindowKey = (event: KeyboardEvent) => {
    const target = event.target as HTMLElement;
    if (
      event.key !== "/" ||
      event.ctrlKey ||
      event.metaKey ||
      target.closest("input, textarea, select, dialog")
    )
      return;
    event.preventDefault();
    area.focus();
  };

  const add = async (files: File[]) => {
    setComplaint("");
    for (const file of files) {
      if (images().length >= MOST_IMAGES) return setComplaint(t("attach.many", { most: MOST_IMAGES }));
      try {
        const image = await attach(file);
        setImages((all) => [...all, image]);
      } catch (reason) {
        setComplaint(
          reason instanceof NotAPicture ? reason.message : t("attach.broken", { name: file.name }),
        );
      }
    }
  };
  const takeFiles = (event: ClipboardEvent | DragEvent, transfer: DataTransfer | null) => {
    const files = imageFiles(transfer);
    setOver(false);
    if (!files.length) return;
    event.preventDefault();
    if (props.takesImages) void add(files);
    else setComplaint(t("attach.unsupported"));
  };

  return (
    <form
      class="composer"
      classList={{ "composer-over": isOver() }}
      aria-label={t("composer.label")}
      onSubmit={(event) => {
        event.preventDefault();
        send(props.isWorking ? "steer" : "prompt");
      }}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        takeFiles(event, event.dataTransfer);
      }}
    >
      <Show when={complaint()}>
        <p class="field-error composer-note" role="alert">
          <Icon name="alert" />
          {complaint()}
        </p>
      </Show>
      <Show when={images().length}>
        <ul class="attachments" aria-label={t("attach.list")}>
          <For each={images()}>
            {(image) => (
              <li class="attachment">
                <img src={`data:${image.media_type};base64,${image.data}`} alt={image.name} />
                <button
                  type="button"
                  class="attachment-remove"
                  onClick={() => setImages((all) => all.filter((one) => one !== image))}
                >
                  <Icon name="close" />
                  <span class="visually-hidden">{t("attach.remove", { name: image.name })}</span>
                </button>
              </li>
            )}
          </For>
        </ul>
      </Show>
      <SlashList slash={slash} />
      <div class="composer-row">
        <Show when={props.takesImages}>
          <input
            ref={picker}
            type="file"
            class="visually-hidden"
            accept="image/png,image/jpeg,image/gif,image/webp"
            multiple
            tabIndex={-1}
            aria-hidden="true"
            onChange={() => {
              void add([...(picker.files ?? [])]);
              picker.value = "";
            }}
          />
          <button
            type="button"
            class="btn btn-quiet btn-icon"
            title={t("attach.add")}
            onClick={() => picker.click()}
          >
            <Icon name="image" />
            <span class="visually-hidden">{t("attach.add")}</span>
          </button>
        </Show>
        <textarea
          ref={area}
          rows={1}
          aria-label={t("composer.input")}
          placeholder={props.placeholder}
          value={text()}
          enterkeyhint="send"
          aria-autocomplete="list"
          aria-controls={slash.isOpen() ? slash.id : undefined}
          aria-activedescendant={slash.isOpen() ? slash.optionId(slash.chosen()?.name ?? "") : undefined}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={onKeyDown}
          onPaste={(event) => takeFiles(event, event.clipboardData)}
        />
        <Show when={props.isWorking}>
          <button
            type="button"
            class="btn btn-icon btn-stop"
            title={t("composer.stop")}
            disabled={props.isStopping}
            onClick={() => props.onStop()}
          >
            <Icon name="stop" />
            <span class="visually-hidden">{t("composer.stop")}</span>
          </button>
        </Show>
        <Show when={!props.isWorking || canSend()}>
          <button
            type="submit"
            class="btn btn-primary btn-icon"
            title={t(props.isWorking ? "composer.steer" : "composer.send")}
            disabled={!canSend()}
          >
            <Icon name="up" />
            <span class="visually-hidden">{t(props.isWorking ? "composer.steer" : "composer.send")}</span>
          </button>
        </Show>
      </div>
      <Show when={props.isWorking && canSend()}>
        <p class="composer-note small muted row-wrap">
          <span>{t("composer.workingHint")}</span>
          <button type="button" class="btn btn-small btn-quiet" onClick={() => send("follow_up")}>
            {t("composer.followUp")} <kbd class="kbd">Alt ↵</kbd>
          </button>
        </p>
      </Show>
    </form>
  );
}
