import { createUniqueId, For, type JSX, Match, Show, Switch } from "solid-js";
import type { KeyView } from "../../api/types.gen";
import { type Key, t } from "../../i18n";
import { fromText, inFile, type Lock, lockOf, shortName, toText } from "./values";

interface RowProps {
  view: KeyView;
  file: string;
  isReadOnly: boolean;
  /** What was typed: `undefined` for nothing, `null` for the default. */
  draft: unknown;
  onChange(value: unknown): void;
  onForget(): void;
}

const LOCKS: Record<Exclude<Lock, null>, Key> = {
  variable: "config.lockVariable",
  flag: "config.lockFlag",
  profile: "config.lockProfile",
  table: "config.lockTable",
  needs: "config.lockNeeds",
};

/** One key: what it means, what holds and why, and a field to change it. */
export function KeyRow(props: RowProps): JSX.Element {
  const id = createUniqueId();
  const lock = () => lockOf(props.view, props.file);
  const isClosed = () => lock() !== null || props.isReadOnly;
  const isChanged = () => props.draft !== undefined;
  const shown = () => {
    if (props.draft === undefined) return inFile(props.view);
    return props.draft === null ? props.view.default : props.draft;
  };
  const change = (value: unknown) => {
    const isSame =
      props.view.type !== "secret" && JSON.stringify(value) === JSON.stringify(inFile(props.view));
    if (isSame || (props.view.type === "secret" && value === "")) props.onForget();
    else props.onChange(value);
  };
  const hasOwn = () => props.view.origin === props.file && props.draft !== null;
  return (
    <div
      class="config-key"
      classList={{ "config-key-changed": isChanged(), "config-key-locked": lock() === "needs" }}
    >
      <div class="config-words">
        <div class="row-wrap">
          <label for={id}>{shortName(props.view)}</label>
          <Show when={props.view.restart}>
            <span class="config-tag">{t("config.restart")}</span>
          </Show>
          <Show when={props.view.is_pending}>
            <span class="config-tag config-tag-waits">
              {t("config.pending", { value: toText(props.view, props.view.value) || t("config.unset") })}
            </span>
          </Show>
        </div>
        <p class="small" id={`${id}-words`}>
          {props.view.description}
        </p>
        <Facts view={props.view} file={props.file} lock={lock()} />
      </div>
      <div class="config-control">
        <Control id={id} view={props.view} value={shown()} isClosed={isClosed()} onChange={change} />
        <Show when={hasOwn() && !isClosed()}>
          <button
            type="button"
            class="btn btn-quiet btn-small"
            aria-label={t("config.toDefaultOf", { name: props.view.name })}
            onClick={() => props.onChange(null)}
          >
            {t("config.toDefault")}
          </button>
        </Show>
      </div>
    </div>
  );
}

function Facts(props: { view: KeyView; file: string; lock: Lock }): JSX.Element {
  const words = () => {
    const lock = props.lock;
    if (lock) return t(LOCKS[lock], { origin: props.view.origin, needs: props.view.needs });
    return t(props.view.origin === props.file ? "config.fromFile" : "config.fromDefault");
  };
  const standard = () => toText(props.view, props.view.default) || t("config.unset");
  return (
    <div class="config-facts">
      <span>{words()}</span>
      <Show when={props.view.origin !== "default" && props.view.type !== "table"}>
        <span>{t("config.wasDefault", { value: standard() })}</span>
      </Show>
    </div>
  );
}

interface ControlProps {
  id: string;
  view: KeyView;
  value: unknown;
  isClosed: boolean;
  onChange(value: unknown): void;
}

function Control(props: ControlProps): JSX.Element {
  const typed = (text: string) => props.onChange(fromText(props.view, text));
  const common = () => ({ id: props.id, disabled: props.isClosed, "aria-describedby": `${props.id}-words` });
  return (
    <Switch fallback={<Line {...props} common={common()} onText={typed} />}>
      <Match when={props.view.type === "switch"}>
        <span class="config-switch">
          <input
            {...common()}
            type="checkbox"
            checked={props.value === true}
            onChange={(event) => props.onChange(event.currentTarget.checked)}
          />
          <span aria-hidden="true">{props.value === true ? t("config.on") : ""}</span>
        </span>
      </Match>
      <Match when={props.view.type === "choice"}>
        <select {...common()} class="select" onChange={(event) => typed(event.currentTarget.value)}>
          <Show when={props.value === null}>
            <option value="" selected>
              {t("config.unset")}
            </option>
          </Show>
          <For each={props.view.choices ?? []}>
            {(choice) => (
              <option value={choice} selected={choice === props.value}>
                {choice}
              </option>
            )}
          </For>
        </select>
      </Match>
      <Match when={props.view.type === "list" || props.view.type === "table"}>
        <textarea
          {...common()}
          class="textarea"
          rows={Math.min(6, Math.max(2, toText(props.view, props.value).split("\n").length))}
          placeholder={props.view.type === "list" ? t("config.listHint") : ""}
          value={toText(props.view, props.value)}
          onChange={(event) => typed(event.currentTarget.value)}
        />
      </Match>
    </Switch>
  );
}

type Common = { id: string; disabled: boolean; "aria-describedby": string };

function Line(props: ControlProps & { common: Common; onText(text: string): void }): JSX.Element {
  const isSecret = () => props.view.type === "secret";
  const isNumber = () => props.view.type === "integer" || props.view.type === "number";
  const placeholder = () => {
    if (!isSecret()) return t("config.unset");
    return props.view.value ? t("config.secretSet") : t("config.secretHint");
  };
  return (
    <input
      {...props.common}
      class="input"
      type={isSecret() ? "password" : isNumber() ? "number" : "text"}
      autocomplete="off"
      spellcheck={false}
      step={props.view.type === "number" ? "any" : "1"}
      min={props.view.minimum ?? undefined}
      max={props.view.maximum ?? undefined}
      placeholder={placeholder()}
      value={isSecret() ? "" : toText(props.view, props.value)}
      onChange={(event) => props.onText(event.currentTarget.value)}
    />
  );
}
