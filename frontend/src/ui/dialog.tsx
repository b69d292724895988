import { createUniqueId, type JSX, onCleanup, onMount, type ParentProps } from "solid-js";
import { t } from "../i18n";
import { createAction } from "./action";
import { Icon } from "./icon";
import { ProblemLine } from "./problem";

interface DialogProps extends ParentProps {
  title: string;
  isWide?: boolean;
  onClose(): void;
}

/** A modal dialog: the browser keeps the focus inside and gives it back. */
export function Dialog(props: DialogProps): JSX.Element {
  const titleId = createUniqueId();
  let element!: HTMLDialogElement;
  const opener = document.activeElement as HTMLElement | null;
  onMount(() => element.showModal());
  onCleanup(() => opener?.isConnected && opener.focus());
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: a click beside the dialog; Escape does the same by itself
    <dialog
      ref={element}
      class={`dialog ${props.isWide ? "dialog-wide" : ""}`}
      aria-labelledby={titleId}
      onClose={() => props.onClose()}
      onClick={(event) => event.target === element && element.close()}
    >
      <div class="stack">
        <div class="row">
          <h2 id={titleId} class="grow">
            {props.title}
          </h2>
          <button type="button" class="btn btn-quiet btn-icon" onClick={() => element.close()}>
            <Icon name="close" />
            <span class="visually-hidden">{t("ui.close")}</span>
          </button>
        </div>
        {props.children}
      </div>
    </dialog>
  );
}

interface ConfirmProps {
  title: string;
  text: string;
  action: string;
  onConfirm(): Promise<void>;
  onClose(): void;
}

export function ConfirmDialog(props: ConfirmProps): JSX.Element {
  const action = createAction(() => props.onConfirm());
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <p>{props.text}</p>
      <ProblemLine problem={action.problem()} />
      <div class="dialog-actions">
        <button type="button" class="btn" autofocus onClick={() => props.onClose()}>
          {t("ui.cancel")}
        </button>
        <button type="button" class="btn btn-danger" disabled={action.isBusy()} onClick={() => action.run()}>
          {props.action}
        </button>
      </div>
    </Dialog>
  );
}
