import { createEffect, createMemo, createSignal, createUniqueId, For, type JSX, on, Show } from "solid-js";
import { t } from "../../i18n";
import { announce } from "../../ui/announcer";

/** What may be written after a slash. With `run` the page does it, and the agent is not told. */
export interface SlashCommand {
  name: string;
  description: string;
  run?(): void;
}

export interface SlashCommands {
  own: SlashCommand[];
  /** What the agent knows by itself. */
  load(): Promise<SlashCommand[]>;
}

const BEGUN = /^\/(\S*)$/;
const MOST_SHOWN = 40;

/** Those that begin like `word`, then those that contain it. */
export function matching(commands: SlashCommand[], word: string): SlashCommand[] {
  const wanted = word.toLowerCase();
  const known = new Map(commands.map((one) => [one.name, one]).reverse() as Array<[string, SlashCommand]>);
  const found = [...known.values()].filter((one) => one.name.toLowerCase().includes(wanted));
  const rank = (one: SlashCommand) => (one.name.toLowerCase().startsWith(wanted) ? 0 : 1);
  const at = (one: SlashCommand) => commands.indexOf(one);
  return found.sort((a, b) => rank(a) - rank(b) || at(a) - at(b)).slice(0, MOST_SHOWN);
}

interface SlashOptions {
  text(): string;
  commands(): SlashCommands | undefined;
  onText(text: string): void;
}

/** The list that opens while a command is written: arrows choose, Tab completes, Enter takes, Escape closes. */
export function createSlash(options: SlashOptions) {
  const id = createUniqueId();
  const [loaded, setLoaded] = createSignal<SlashCommand[]>([]);
  const [isDismissed, setDismissed] = createSignal(false);
  const [at, setAt] = createSignal(0);

  const word = createMemo(() => BEGUN.exec(options.text())?.[1] ?? null);
  const isBegun = createMemo(() => word() !== null && options.commands() !== undefined);
  const found = createMemo(() => {
    const begun = word();
    const own = options.commands()?.own ?? [];
    return begun === null || isDismissed() ? [] : matching([...own, ...loaded()], begun);
  });
  const isOpen = () => isBegun() && found().length > 0;
  const chosen = () => (isOpen() ? found()[Math.min(at(), found().length - 1)] : undefined);
  const optionId = (name: string) => `${id}-${name}`;

  createEffect(
    on(isBegun, (is) => {
      setDismissed(false);
      // An agent that is gone knows no commands; the page's own remain.
      if (is)
        options
          .commands()
          ?.load()
          .then(setLoaded, () => setLoaded([]));
    }),
  );
  createEffect(on(word, () => setAt(0)));
  createEffect(on(isOpen, (is) => is && announce(t("slash.open", { count: found().length }))));

  const take = (command: SlashCommand) => {
    options.onText(command.run ? "" : `/${command.name} `);
    command.run?.();
  };

  /** Whether the key was meant for the list. */
  const onKey = (event: KeyboardEvent): boolean => {
    const command = chosen();
    if (!command || event.isComposing) return false;
    const count = found().length;
    if (event.key === "ArrowDown") setAt((at() + 1) % count);
    else if (event.key === "ArrowUp") setAt((at() - 1 + count) % count);
    else if (event.key === "Escape") setDismissed(true);
    else if (event.key === "Tab" && !event.shiftKey)
      options.onText(`/${command.name}${command.run ? "" : " "}`);
    else if (event.key === "Enter" && !event.shiftKey && (command.run || command.name !== word()))
      take(command);
    else return false;
    event.preventDefault();
    // Escape would otherwise be the first half of stopping the agent.
    event.stopPropagation();
    return true;
  };

  return { id, isOpen, found, chosen, optionId, onKey, take };
}

export function SlashList(props: { slash: ReturnType<typeof createSlash> }): JSX.Element {
  const { slash } = props;
  let list: HTMLDivElement | undefined;
  createEffect(
    on(slash.chosen, () =>
      queueMicrotask(() => list?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" })),
    ),
  );
  return (
    <Show when={slash.isOpen()}>
      <div ref={list} id={slash.id} class="slash" role="listbox" aria-label={t("slash.title")}>
        <For each={slash.found()}>
          {(command) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the keys are those of the text field, which keeps the focus
            <div
              id={slash.optionId(command.name)}
              class="slash-option"
              role="option"
              tabIndex={-1}
              aria-selected={slash.chosen() === command}
              onPointerDown={(event) => event.preventDefault()}
              onClick={() => slash.take(command)}
            >
              <span class="mono">/{command.name}</span>
              <span class="small muted truncate">{command.description}</span>
            </div>
          )}
        </For>
      </div>
    </Show>
  );
}
