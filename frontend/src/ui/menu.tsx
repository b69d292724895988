import { createSignal, createUniqueId, type JSX, onCleanup, type ParentProps, Show } from "solid-js";

interface MenuProps extends ParentProps {
  label: JSX.Element;
  title: string;
  buttonClass?: string;
  side: string;
  isDisabled?: boolean;
  /** The label alone says too little to who hears it: `title` is the name. */
  isNamedByTitle?: boolean;
}

/** A button that opens a list: arrows move, letters jump, Escape closes and gives the focus back. */
export function Menu(props: MenuProps): JSX.Element {
  const [isOpen, setOpen] = createSignal(false);
  const id = createUniqueId();
  let anchor!: HTMLDivElement;
  let button!: HTMLButtonElement;
  let typed = "";
  let typedAt = 0;

  const items = () => [...anchor.querySelectorAll<HTMLElement>("[role^=menuitem]:not([disabled])")];
  const close = (giveBack: boolean) => {
    if (!isOpen()) return;
    setOpen(false);
    document.removeEventListener("pointerdown", outside);
    if (giveBack) button.focus();
  };
  const outside = (event: PointerEvent) => {
    if (!anchor.contains(event.target as Node)) close(false);
  };
  const open = () => {
    setOpen(true);
    document.addEventListener("pointerdown", outside);
    queueMicrotask(() => {
      (items().find((item) => item.ariaChecked === "true") ?? items()[0])?.focus();
      // At the end of a list that scrolls, all of the menu has to be seen and not its first line only.
      anchor.querySelector("[role=menu]")?.scrollIntoView?.({ block: "nearest" });
    });
  };
  onCleanup(() => document.removeEventListener("pointerdown", outside));

  const jump = (key: string) => {
    typed = Date.now() - typedAt > 800 ? key : typed + key;
    typedAt = Date.now();
    items()
      .find((item) => item.textContent?.trim().toLowerCase().startsWith(typed.toLowerCase()))
      ?.focus();
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (!isOpen()) return;
    const all = items();
    const at = all.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1 + all.length, Home: 0, End: all.length - 1 }[event.key];
    if (to !== undefined) all[to % all.length]?.focus();
    else if (event.key === "Escape") close(true);
    else if (event.key === "Tab") return close(false);
    else if (event.key.length === 1 && event.key !== " ") return jump(event.key);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: keys of the button and the menu inside
    <div ref={anchor} class="menu-anchor" onKeyDown={onKeyDown}>
      <button
        ref={button}
        type="button"
        class={props.buttonClass ?? "btn"}
        title={props.title}
        aria-label={props.isNamedByTitle ? props.title : undefined}
        aria-haspopup="menu"
        aria-expanded={isOpen()}
        aria-controls={isOpen() ? id : undefined}
        disabled={props.isDisabled}
        onClick={() => (isOpen() ? close(true) : open())}
      >
        {props.label}
      </button>
      <Show when={isOpen()}>
        <div
          id={id}
          class={`menu ${props.side}`}
          role="menu"
          tabIndex={-1}
          aria-label={props.title}
          onClick={(event) => (event.target as HTMLElement).closest("[role^=menuitem]") && close(true)}
          onKeyUp={() => {}}
        >
          {props.children}
        </div>
      </Show>
    </div>
  );
}

interface MenuItemProps extends ParentProps {
  onPick(): void;
  /** Given: one of several, of which one is chosen. */
  isChosen?: boolean;
  isDisabled?: boolean;
}

export function MenuItem(props: MenuItemProps): JSX.Element {
  return (
    // biome-ignore lint/a11y/useAriaPropsSupportedByRole: checked only where the role is menuitemradio
    <button
      type="button"
      class="menu-item"
      tabIndex={-1}
      role={props.isChosen === undefined ? "menuitem" : "menuitemradio"}
      aria-checked={props.isChosen}
      disabled={props.isDisabled}
      onClick={() => props.onPick()}
    >
      {props.children}
    </button>
  );
}
