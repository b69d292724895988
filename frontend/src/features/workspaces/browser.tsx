import { createEffect, createSignal, For, type JSX, on, onCleanup, onMount, Show } from "solid-js";
import { api } from "../../api/client";
import { type ProblemError, toProblem } from "../../api/problem";
import type { Listing, Template } from "../../api/rest";
import { t } from "../../i18n";
import { createAction } from "../../ui/action";
import { Field } from "../../ui/field";
import { Given } from "../../ui/given";
import { Icon } from "../../ui/icon";
import { ProblemBox } from "../../ui/problem";

interface BrowserProps {
  path: string;
  onPath(path: string): void;
  /** Tells whether an agent could write in the folder that is shown. */
  onListing?(listing: Listing | null): void;
}

/** Walks the folders of this account, one level at a time. */
export function FolderBrowser(props: BrowserProps): JSX.Element {
  const [listing, setListing] = createSignal<Listing | null>(null);
  const [problem, setProblem] = createSignal<ProblemError | null>(null);
  const [isHidden, setHidden] = createSignal(false);
  const [isNaming, setNaming] = createSignal(false);
  let request: AbortController | null = null;
  let list: HTMLUListElement | undefined;
  onCleanup(() => request?.abort());

  const show = async (path: string) => {
    request?.abort();
    request = new AbortController();
    const { signal } = request;
    try {
      const found = await api.browse(path, isHidden(), signal);
      setListing(found);
      setProblem(null);
      props.onListing?.(found);
      if (found.path !== props.path) props.onPath(found.path);
    } catch (reason) {
      if (signal.aborted) return;
      setProblem(toProblem(reason));
      props.onListing?.(null);
    }
  };
  createEffect(on([() => props.path, isHidden], ([path]) => void show(path)));

  const enter = (path: string) => {
    props.onPath(path);
    list?.querySelector<HTMLElement>("button")?.focus();
  };

  return (
    <div class="browser">
      <div class="browser-bar">
        <button
          type="button"
          class="btn btn-quiet btn-icon"
          title={t("folder.up")}
          disabled={!listing()?.parent}
          onClick={() => enter(listing()?.parent ?? "")}
        >
          <Icon name="up" />
          <span class="visually-hidden">{t("folder.up")}</span>
        </button>
        <Crumbs path={listing()?.path ?? props.path} onPath={enter} />
        <button type="button" class="btn btn-quiet btn-small" onClick={() => setNaming(!isNaming())}>
          <Icon name="plus" />
          {t("folder.new")}
        </button>
      </div>
      <Given value={isNaming() && listing()}>
        {(at) => (
          <NewFolder
            parent={at().path}
            onMade={(path) => {
              setNaming(false);
              props.onPath(path);
            }}
          />
        )}
      </Given>
      <Given value={problem()}>
        {(failure) => (
          <ProblemBox title={t("folder.failed")} problem={failure()} onRetry={() => void show(props.path)} />
        )}
      </Given>
      <Given
        value={listing()}
        fallback={
          <Show when={!problem()}>
            <FolderSkeleton />
          </Show>
        }
      >
        {(at) => (
          <>
            <Show when={at().is_writable && at().refusal}>
              <p class="field-hint row browser-note">
                <Icon name="info" />
                {at().refusal}
              </p>
            </Show>
            <Show when={!at().is_writable}>
              <p class="field-hint row browser-note">
                <Icon name="alert" />
                {t("folder.readOnly")}
              </p>
            </Show>
            <ul ref={list} class="browser-list" aria-label={t("folder.inside", { path: at().path })}>
              <For each={at().folders} fallback={<li class="muted browser-note">{t("folder.empty")}</li>}>
                {(folder) => (
                  <li>
                    <button type="button" class="browser-item" onClick={() => enter(folder.path)}>
                      <Icon name="folder" />
                      <span class="truncate grow">{folder.name}</span>
                      <Show when={folder.is_repository}>
                        <span class="tag">
                          <Icon name="branch" />
                          git
                        </span>
                      </Show>
                      <Icon name="chevron" class="faint" />
                    </button>
                  </li>
                )}
              </For>
            </ul>
            <Show when={at().is_truncated}>
              <p class="muted small browser-note">{t("folder.truncated")}</p>
            </Show>
          </>
        )}
      </Given>
      <label class="row small browser-note">
        <input
          type="checkbox"
          class="check"
          checked={isHidden()}
          onChange={(e) => setHidden(e.currentTarget.checked)}
        />
        {t("folder.hidden")}
      </label>
    </div>
  );
}

function FolderSkeleton(): JSX.Element {
  return (
    <div class="stack-tight browser-note" role="status" aria-label={t("folder.loading")}>
      <div class="skeleton" />
      <div class="skeleton skeleton-short" />
      <div class="skeleton" />
    </div>
  );
}

function Crumbs(props: { path: string; onPath(path: string): void }): JSX.Element {
  let bar!: HTMLElement;
  // The end of a path says where one is.
  createEffect(
    on(
      () => props.path,
      () => {
        bar.scrollLeft = bar.scrollWidth;
      },
    ),
  );
  const steps = () => {
    const names = props.path.split("/").filter(Boolean);
    return names.map((name, at) => ({ name, path: `/${names.slice(0, at + 1).join("/")}` }));
  };
  return (
    <nav ref={bar} class="crumbs grow" aria-label={t("folder.path")}>
      <button type="button" class="crumb" onClick={() => props.onPath("/")}>
        /
      </button>
      <For each={steps()}>
        {(step, at) => (
          <button
            type="button"
            class="crumb"
            aria-current={at() === steps().length - 1 ? "location" : undefined}
            onClick={() => props.onPath(step.path)}
          >
            {step.name}
          </button>
        )}
      </For>
    </nav>
  );
}

function NewFolder(props: { parent: string; onMade(path: string): void }): JSX.Element {
  const [name, setName] = createSignal("");
  const [template, setTemplate] = createSignal("");
  const isBad = () => /[/\0]/.test(name()) || name() === "." || name() === "..";
  const action = createAction(async () => {
    const path = `${props.parent.replace(/\/$/, "")}/${name().trim()}`;
    props.onMade((await api.openWorkspace(path, true, template())).path);
  });
  return (
    <form
      class="new-folder"
      onSubmit={(event) => {
        event.preventDefault();
        if (name().trim() && !isBad()) void action.run();
      }}
    >
      <Field
        label={t("folder.name")}
        autocomplete="off"
        spellcheck={false}
        value={name()}
        onText={setName}
        ref={(input: HTMLInputElement) => queueMicrotask(() => input.focus())}
        error={isBad() ? t("folder.badName") : action.problem()?.detail}
      />
      <TemplateChoice chosen={template()} onPick={setTemplate} />
      <button type="submit" class="btn" disabled={action.isBusy() || !name().trim() || isBad()}>
        {t("folder.create")}
      </button>
    </form>
  );
}

/** What plugins offer to begin a folder with; nothing is shown where they offer nothing. */
function TemplateChoice(props: { chosen: string; onPick(name: string): void }): JSX.Element {
  const [templates, setTemplates] = createSignal<Template[]>([]);
  const [problem, setProblem] = createSignal<ProblemError | null>(null);
  onMount(async () => {
    try {
      setTemplates(await api.templates());
    } catch (reason) {
      setProblem(toProblem(reason));
    }
  });
  const described = () => templates().find((one) => one.name === props.chosen)?.description;
  return (
    <>
      <Show when={templates().length > 0}>
        <div class="field">
          <label for="new-folder-template">{t("folder.template")}</label>
          <select
            id="new-folder-template"
            class="input"
            value={props.chosen}
            onChange={(event) => props.onPick(event.currentTarget.value)}
          >
            <option value="">{t("folder.plain")}</option>
            <For each={templates()}>{(one) => <option value={one.name}>{one.title}</option>}</For>
          </select>
          <Given value={described()}>{(text) => <p class="field-hint">{text()}</p>}</Given>
        </div>
      </Show>
      <Given value={problem()}>
        {(failure) => <p class="field-hint">{t("folder.noTemplates", { reason: failure().detail })}</p>}
      </Given>
    </>
  );
}
