import { createEffect, createSignal, For, type JSX, onMount, Show } from "solid-js";
import { api } from "../../api/client";
import { type ProblemError, toProblem } from "../../api/problem";
import type { Listing, Workspace } from "../../api/rest";
import { ago, t } from "../../i18n";
import { useApp } from "../../state/app";
import { allModels, rememberedModel, rememberModel } from "../../state/models";
import { go, sessionPath } from "../../state/route";
import { createAction } from "../../ui/action";
import { Given } from "../../ui/given";
import { Icon } from "../../ui/icon";
import { ProblemBox } from "../../ui/problem";
import { ModelMenu } from "../chat/model-menu";
import { FolderBrowser } from "./browser";
import { Starting } from "./starting";

const RECENT_SHOWN = 6;

/** Where should the agent work, and with which model. */
export function NewSessionPage(props: { path: string }): JSX.Element {
  const app = useApp();
  const [recent, setRecent] = createSignal<Workspace[] | null>(null);
  const [recentProblem, setRecentProblem] = createSignal<ProblemError | null>(null);
  const [path, setPath] = createSignal(props.path);
  const [listing, setListing] = createSignal<Listing | null>(null);
  const [chosen, setChosen] = createSignal(rememberedModel());
  const [start, setStart] = createSignal<AbortController | null>(null);
  const [problem, setProblem] = createSignal<ProblemError | null>(null);

  const loadRecent = async () => {
    try {
      setRecent(await api.workspaces());
      setRecentProblem(null);
    } catch (reason) {
      setRecentProblem(toProblem(reason));
    }
  };
  onMount(loadRecent);

  const model = () => {
    const known = allModels(app.models.sources());
    return known.find((one) => one.key === chosen()) ?? known[0] ?? null;
  };
  createEffect(() => {
    const first = recent()?.[0];
    if (!path() && first) setPath(first.path);
  });

  // Offered to those who have no folder yet: the place where this server keeps workspaces.
  const suggested = () => {
    const place = listing()?.suggested;
    return recent()?.length === 0 && place && path() !== place ? place : null;
  };
  const making = createAction(async (folder: string) => {
    setPath((await api.openWorkspace(folder, true)).path);
  });

  const canStart = () => {
    const at = listing();
    return at?.is_writable && !at.refusal;
  };
  const begin = async () => {
    const control = new AbortController();
    setStart(control);
    setProblem(null);
    try {
      const folder = await api.openWorkspace(path(), false);
      const picked = model();
      const session = await api.startSession(
        { workspace: folder.path, provider: picked?.provider ?? "", model: picked?.id ?? "" },
        control.signal,
      );
      app.list.put(session);
      go(sessionPath(session.id));
    } catch (reason) {
      if (!control.signal.aborted) setProblem(toProblem(reason));
    } finally {
      if (start() === control) setStart(null);
    }
  };

  return (
    <div class="page page-picker">
      <header class="stack-tight">
        <h1>{t("new.title")}</h1>
        <p class="muted lead">{t("new.lead")}</p>
      </header>
      <Given value={recentProblem()}>
        {(failure) => <ProblemBox title={t("new.recentFailed")} problem={failure()} onRetry={loadRecent} />}
      </Given>
      <Show when={recent()?.length}>
        <section class="stack-tight" aria-labelledby="recent-title">
          <h2 id="recent-title" class="label">
            {t("new.recent")}
          </h2>
          <ul class="recent">
            <For each={recent()?.slice(0, RECENT_SHOWN)}>
              {(folder) => (
                <li>
                  <button
                    type="button"
                    class="recent-item"
                    aria-pressed={path() === folder.path}
                    onClick={() => setPath(folder.path)}
                  >
                    <Icon name="folder" />
                    <span class="grow truncate">
                      <strong>{folder.name}</strong>
                      <span class="small muted truncate path">
                        <bdi>{folder.path}</bdi>
                      </span>
                    </span>
                    <Given value={folder.last_used_at}>
                      {(at) => <span class="small muted">{ago(at(), Date.now())}</span>}
                    </Given>
                  </button>
                </li>
              )}
            </For>
          </ul>
        </section>
      </Show>
      <Given value={suggested()}>
        {(folder) => (
          <button
            type="button"
            class="recent-item"
            disabled={making.isBusy()}
            onClick={() => void making.run(folder())}
          >
            <Icon name="spark" />
            <span class="grow truncate">
              <strong>{t("new.suggested")}</strong>
              <span class="small muted truncate path">
                <bdi>{folder()}</bdi>
              </span>
            </span>
          </button>
        )}
      </Given>
      <Given value={making.problem()}>
        {(failure) => <ProblemBox title={t("folder.failed")} problem={failure()} />}
      </Given>
      <section class="stack-tight" aria-labelledby="browse-title">
        <h2 id="browse-title" class="label">
          {t("new.browse")}
        </h2>
        <FolderBrowser path={path()} onPath={setPath} onListing={setListing} />
      </section>
      <Given value={problem()}>
        {(failure) => <ProblemBox title={t("new.failed")} problem={failure()} onRetry={() => void begin()} />}
      </Given>
      <footer class="picker-foot">
        <div class="grow picker-choice">
          <span class="small muted">{t("new.chosen")}</span>
          <span class="mono truncate path">
            <bdi>{path() || "…"}</bdi>
          </span>
        </div>
        <ModelMenu
          sources={app.models.sources()}
          chosen={model()?.key ?? ""}
          side="menu-up menu-end"
          onPick={(picked) => {
            setChosen(picked.key);
            rememberModel(picked.key);
          }}
        />
        <button
          type="button"
          class="btn btn-primary btn-large"
          disabled={!canStart() || start() !== null}
          onClick={() => void begin()}
        >
          <Icon name="play" />
          {t("new.start")}
        </button>
      </footer>
      <Given value={start()}>{(control) => <Starting onCancel={() => control().abort()} />}</Given>
    </div>
  );
}
