import { createResource, createSignal, For, type JSX, Show } from "solid-js";
import { api } from "../../api/client";
import { toProblem } from "../../api/problem";
import type { Provider } from "../../api/rest";
import { t } from "../../i18n";
import { useApp } from "../../state/app";
import { ConfirmDialog } from "../../ui/dialog";
import { Given } from "../../ui/given";
import { Icon } from "../../ui/icon";
import { ProblemBox } from "../../ui/problem";
import { SourceChooser } from "../first-run/sources";

export function ModelsPage(): JSX.Element {
  const app = useApp();
  const [providers, { refetch }] = createResource(() => api.providers());
  const [doomed, setDoomed] = createSignal<Provider | null>(null);
  const isAdmin = () => app.account.role === "admin";
  const remove = async (provider: Provider) => {
    await api.deleteProvider(provider.name);
    setDoomed(null);
    await Promise.all([refetch(), app.models.refresh()]);
  };
  return (
    <div class="page">
      <header class="stack-tight">
        <h1>{t("models.title")}</h1>
        <p class="muted lead">{t("models.lead")}</p>
      </header>
      <Show when={providers.error}>
        <ProblemBox
          title={t("models.failed")}
          problem={toProblem(providers.error)}
          onRetry={() => void refetch()}
        />
      </Show>
      <Show when={!providers.error}>
        <Given value={providers()} fallback={<div class="skeleton skeleton-tall" />}>
          {(known) => (
            <ul class="stack-tight">
              <For each={known()}>
                {(provider) => (
                  <li class="source-row">
                    <Icon name={provider.is_demo ? "spark" : "key"} />
                    <span class="grow">
                      <strong>{provider.title || provider.name}</strong>
                      <span class="small muted">{factsOf(provider)}</span>
                    </span>
                    <Show when={isAdmin()}>
                      <button
                        type="button"
                        class="btn btn-quiet btn-icon"
                        onClick={() => setDoomed(provider)}
                      >
                        <Icon name="trash" />
                        <span class="visually-hidden">
                          {t("models.remove", { name: provider.title || provider.name })}
                        </span>
                      </button>
                    </Show>
                  </li>
                )}
              </For>
            </ul>
          )}
        </Given>
      </Show>
      <Show when={isAdmin()} fallback={<p class="muted">{t("models.managed")}</p>}>
        <section class="stack" aria-labelledby="add-source">
          <h2 id="add-source">{t("models.add")}</h2>
          <SourceChooser onAdded={() => void refetch()} />
        </section>
      </Show>
      <Given value={doomed()}>
        {(provider) => (
          <ConfirmDialog
            title={t("models.removeTitle")}
            text={t("models.removeText", { name: provider().title || provider().name })}
            action={t("models.removeAction")}
            onConfirm={() => remove(provider())}
            onClose={() => setDoomed(null)}
          />
        )}
      </Given>
    </div>
  );
}

function factsOf(provider: Provider): string {
  const count = provider.models.length;
  const models = count === 1 ? t("models.one") : t("models.count", { count });
  return [models, provider.base_url, provider.has_key ? t("models.hasKey") : ""].filter(Boolean).join(" · ");
}
