import { createUniqueId, type JSX, Show, splitProps } from "solid-js";
import { Icon } from "./icon";

interface FieldProps extends Omit<JSX.InputHTMLAttributes<HTMLInputElement>, "onInput"> {
  label: string;
  hint?: string;
  error?: string;
  onText(text: string): void;
}

/** A labelled input; its hint and error are tied to it for people who listen. */
export function Field(props: FieldProps): JSX.Element {
  const [own, rest] = splitProps(props, ["label", "hint", "error", "onText", "id"]);
  const made = createUniqueId();
  const id = () => own.id ?? made;
  const describedBy = () =>
    [own.error ? `${id()}-error` : "", own.hint ? `${id()}-hint` : ""].filter(Boolean).join(" ") || undefined;
  return (
    <div class="field">
      <label for={id()}>{own.label}</label>
      <Show when={own.hint}>
        <span class="field-hint" id={`${id()}-hint`}>
          {own.hint}
        </span>
      </Show>
      <input
        {...rest}
        id={id()}
        class="input"
        aria-invalid={own.error ? "true" : undefined}
        aria-describedby={describedBy()}
        onInput={(event) => own.onText(event.currentTarget.value)}
      />
      <Show when={own.error}>
        <span class="field-error" id={`${id()}-error`} role="alert">
          <Icon name="alert" />
          {own.error}
        </span>
      </Show>
    </div>
  );
}
