import "../../styles/config.css";
import { createMemo, createSignal, For, type JSX, onMount, Show } from "solid-js";
import { createStore, reconcile } from "solid-js/store";
import { api } from "../../api/client";
import { type ProblemError, toProblem } from "../../api/problem";
import type { SettingsView } from "../../api/types.gen";
import { t } from "../../i18n";
import { createAction } from "../../ui/action";
import { announce } from "../../ui/announcer";
import { Field } from "../../ui/field";
import { Given } from "../../ui/given";
import { Icon } from "../../ui/icon";
import { ProblemBox } from "../../ui/problem";
import { KeyRow } from "./key-row";
import { groups, matching } from "./values";

type Draft = Record<string, unknown>;

/** Every key of the server, for admins. */
export default function ConfigPage(): JSX.Element {
  const [view, setView] = createSignal<SettingsView | null>(null);
  const [problem, setProblem] = createSignal<ProblemError | null>(null);
  const load = () =>
    api.settings().then(
      (fresh) => {
        setView(fresh);
        setProblem(null);
      },
      (reason: unknown) => setProblem(toProblem(reason)),
    );
  onMount(load);
  return (
    <div class="page config-page">
      <header class="stack-tight">
        <h1>{t("config.title")}</h1>
        <p class="muted lead">{t("config.lead")}</p>
      </header>
      <Given value={!view() && problem()}>
        {(failure) => (
          <ProblemBox title={t("config.failed")} problem={failure()} onRetry={() => void load()} />
        )}
      </Given>
      <Given
        value={view()}
        fallback={
          <Show when={!problem()}>
            <div class="skeleton skeleton-tall" />
          </Show>
        }
      >
        {(known) => <Editor view={known()} onView={setView} onReload={load} />}
      </Given>
    </div>
  );
}

interface EditorProps {
  view: SettingsView;
  onView(view: SettingsView): void;
  onReload(): Promise<unknown>;
}

function Editor(props: EditorProps): JSX.Element {
  const [search, setSearch] = createSignal("");
  const [onlyChanged, setOnlyChanged] = createSignal(false);
  const [draft, setDraft] = createStore<Draft>({});
  const found = createMemo(() =>
    groups(matching(props.view.keys, search()).filter((key) => !onlyChanged() || key.origin !== "default")),
  );
  const clear = () => setDraft(reconcile({}));
  const save = createAction(async () => {
    props.onView(await api.changeSettings(props.view.revision, { ...draft }));
    clear();
    announce(t("config.saved"));
  });
  const discard = () => {
    clear();
    save.clear();
  };
  const lookAgain = async () => {
    await props.onReload();
    save.clear();
  };
  return (
    <>
      <State view={props.view} />
      <div class="config-tools">
        <Field
          label={t("config.search")}
          hint={t("config.searchHint")}
          type="search"
          value={search()}
          onText={setSearch}
        />
        <label class="config-switch">
          <input
            type="checkbox"
            checked={onlyChanged()}
            onChange={(event) => setOnlyChanged(event.currentTarget.checked)}
          />
          {t("config.onlyChanged")}
        </label>
      </div>
      <For each={found()} fallback={<p class="muted">{t("config.none")}</p>}>
        {(group) => (
          <section class="card config-section" aria-label={group.name}>
            <h2>[{group.name}]</h2>
            <For each={group.keys}>
              {(key) => (
                <KeyRow
                  view={key}
                  file={props.view.file}
                  isReadOnly={props.view.read_only !== ""}
                  draft={draft[key.name]}
                  onChange={(value) => setDraft(key.name, value)}
                  onForget={() => setDraft(key.name, undefined)}
                />
              )}
            </For>
          </section>
        )}
      </For>
      <SaveBar
        count={Object.values(draft).filter((value) => value !== undefined).length}
        isBusy={save.isBusy()}
        problem={save.problem()}
        onSave={() => void save.run()}
        onDiscard={discard}
        onLookAgain={() => void lookAgain()}
      />
    </>
  );
}

function State(props: { view: SettingsView }): JSX.Element {
  return (
    <div class="stack">
      <p class="small muted">
        {t("config.file")} <code>{props.view.file}</code>
      </p>
      <Given value={props.view.status.error}>
        {(error) => (
          <div class="callout callout-error" role="alert">
            <Icon name="alert" />
            <div class="stack-tight grow">
              <strong>{t("config.refused")}</strong>
              <p>{error()}</p>
              <p class="muted">{t("config.refusedSafe")}</p>
            </div>
          </div>
        )}
      </Given>
      <Show when={props.view.status.pending.length > 0}>
        <div class="callout callout-warning">
          <Icon name="alert" />
          <div class="stack-tight grow">
            <strong>{t("config.waiting")}</strong>
            <p>
              <For each={props.view.status.pending}>{(one) => <code>{one.key} </code>}</For>
            </p>
            <p class="muted">{t("config.waitingText")}</p>
          </div>
        </div>
      </Show>
      <Show when={!props.view.status.is_agreed}>
        <p class="small muted">{t("config.disagree")}</p>
      </Show>
      <Given value={props.view.read_only}>
        {(reason) => (
          <div class="callout">
            <Icon name="alert" />
            <div class="stack-tight grow">
              <strong>{t("config.readOnly")}</strong>
              <p>{reason()}</p>
            </div>
          </div>
        )}
      </Given>
    </div>
  );
}

interface BarProps {
  count: number;
  isBusy: boolean;
  problem: ProblemError | null;
  onSave(): void;
  onDiscard(): void;
  onLookAgain(): void;
}

function SaveBar(props: BarProps): JSX.Element {
  const isConflict = () => props.problem?.status === 409;
  const diff = () => String(props.problem?.extra?.diff ?? "");
  return (
    <Show when={props.count > 0 || props.problem}>
      <section class="config-bar" aria-label={t("config.save")}>
        <Given value={props.problem}>
          {(problem) => (
            <ProblemBox
              title={t(isConflict() ? "config.conflict" : "config.saveFailed")}
              problem={problem()}
              safe={t("config.conflictSafe")}
            />
          )}
        </Given>
        <Given value={isConflict() && diff()}>{(lines) => <pre class="config-diff">{lines()}</pre>}</Given>
        <div class="row-wrap">
          <span class="grow">
            {props.count === 1 ? t("config.change") : t("config.changes", { count: props.count })}
          </span>
          <Show when={isConflict()}>
            <button type="button" class="btn" onClick={() => props.onLookAgain()}>
              {t("config.reload")}
            </button>
          </Show>
          <button type="button" class="btn" onClick={() => props.onDiscard()}>
            {t("config.discard")}
          </button>
          <button
            type="button"
            class="btn btn-primary"
            disabled={props.isBusy || props.count === 0 || isConflict()}
            onClick={() => props.onSave()}
          >
            {t("config.save")}
          </button>
        </div>
      </section>
    </Show>
  );
}
