import { createSignal, For, type JSX, Show } from "solid-js";
import { api } from "../../api/client";
import { ProblemError } from "../../api/problem";
import type { ProviderKind } from "../../api/rest";
import { type Key, t } from "../../i18n";
import { useApp } from "../../state/app";
import { createAction } from "../../ui/action";
import { Field } from "../../ui/field";
import { Given } from "../../ui/given";
import { Icon, Mark } from "../../ui/icon";
import { ProblemBox } from "../../ui/problem";
import { failureTitle } from "./failures";

interface Choice {
  kind: ProviderKind;
  title: Key;
  text: Key;
  placeholder: string;
}

const KEYED: Choice[] = [
  { kind: "anthropic", title: "source.anthropic", text: "source.anthropicText", placeholder: "sk-ant-…" },
  { kind: "openai", title: "source.openai", text: "source.openaiText", placeholder: "sk-…" },
  { kind: "openrouter", title: "source.openrouter", text: "source.openrouterText", placeholder: "sk-or-…" },
  { kind: "openai-compatible", title: "source.compatible", text: "source.compatibleText", placeholder: "" },
];

const NO_MODELS = "no-models";
const noModels = () => new ProblemError({ code: NO_MODELS, status: 409, detail: t("source.noModels") });

/** Where the agents' models come from: a key, an address, or the demo. What was typed stays when it fails. */
export function SourceChooser(props: { offersDemo?: boolean; onAdded(): void }): JSX.Element {
  const app = useApp();
  const [chosen, setChosen] = createSignal<Choice | null>(null);

  const added = async () => {
    await app.models.refresh();
    // Saved, but nothing to think with: stay here and say so.
    if (app.models.sources().length === 0) throw noModels();
    props.onAdded();
  };
  const hasDemo = () => app.models.sources().some((source) => source.is_demo);
  const demo = createAction(async () => {
    if (hasDemo()) return props.onAdded();
    await api.addProvider({ name: "demo", kind: "demo", base_url: "", api_key: "", models: [] });
    await added();
  });

  return (
    <div class="stack">
      <Show when={props.offersDemo || !hasDemo()}>
        <button type="button" class="choice choice-lead" disabled={demo.isBusy()} onClick={() => demo.run()}>
          <Show when={demo.isBusy()} fallback={<Icon name="spark" />}>
            <Mark isBusy class="mark-inline" />
          </Show>
          <span class="grow">
            <strong>{t("source.demo")}</strong>
            <span class="muted small">{t("source.demoText")}</span>
          </span>
          <Icon name="chevron" />
        </button>
        <Given value={demo.problem()}>
          {(problem) => (
            <ProblemBox title={t("source.demoFailed")} problem={problem()} onRetry={() => demo.run()} />
          )}
        </Given>
      </Show>
      <fieldset class="choices">
        <legend class="label">{t("source.own")}</legend>
        <For each={KEYED}>
          {(choice) => (
            <div class="choice-box">
              <button
                type="button"
                class="choice"
                aria-expanded={chosen() === choice}
                onClick={() => setChosen(chosen() === choice ? null : choice)}
              >
                <Icon name={choice.kind === "openai-compatible" ? "globe" : "key"} />
                <span class="grow">
                  <strong>{t(choice.title)}</strong>
                  <span class="muted small">{t(choice.text)}</span>
                </span>
                <Icon name="chevron" class="turn" />
              </button>
              <Show when={chosen() === choice}>
                <KeyForm choice={choice} onAdded={added} />
              </Show>
            </div>
          )}
        </For>
      </fieldset>
    </div>
  );
}

function KeyForm(props: { choice: Choice; onAdded(): Promise<void> }): JSX.Element {
  const isAddress = () => props.choice.kind === "openai-compatible";
  const [key, setKey] = createSignal("");
  const [url, setUrl] = createSignal("");
  const [models, setModels] = createSignal("");
  const [isFree, setFree] = createSignal(false);
  const [missing, setMissing] = createSignal(false);

  const action = createAction(async () => {
    await api.addProvider({
      name: isAddress() ? nameOf(url()) : props.choice.kind,
      kind: props.choice.kind,
      base_url: url().trim(),
      api_key: key().trim(),
      models: models()
        .split(/[\s,]+/)
        .filter(Boolean),
      allow_unpriced: isAddress() && isFree(),
    });
    await props.onAdded();
  });

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const isMissing = isAddress() ? !url().trim() : !key().trim();
    setMissing(isMissing);
    if (!isMissing) void action.run();
  };

  return (
    <form class="stack choice-form" novalidate onSubmit={submit}>
      <Show when={isAddress()}>
        <Field
          label={t("source.url")}
          hint={t("source.urlHint")}
          type="url"
          inputmode="url"
          autocomplete="off"
          placeholder="http://localhost:11434/v1"
          value={url()}
          onText={setUrl}
          error={missing() ? t("source.urlMissing") : undefined}
        />
      </Show>
      <Field
        label={isAddress() ? t("source.keyOptional") : t("source.key")}
        hint={t("source.keyHint")}
        type="password"
        autocomplete="off"
        spellcheck={false}
        placeholder={props.choice.placeholder}
        value={key()}
        onText={setKey}
        error={missing() && !isAddress() ? t("source.keyMissing") : undefined}
      />
      <Show when={isAddress()}>
        <Field
          label={t("source.models")}
          hint={t("source.modelsHint")}
          autocomplete="off"
          spellcheck={false}
          value={models()}
          onText={setModels}
        />
        <label class="row small">
          <input
            type="checkbox"
            class="check"
            checked={isFree()}
            onChange={(e) => setFree(e.currentTarget.checked)}
          />
          {t("source.free")}
        </label>
      </Show>
      <Given value={action.problem()}>
        {(problem) => (
          <ProblemBox
            title={failureTitle(problem())}
            problem={problem()}
            safe={problem().code === NO_MODELS ? undefined : t("source.kept")}
          />
        )}
      </Given>
      <div class="row-wrap">
        <button type="submit" class="btn btn-primary" disabled={action.isBusy()}>
          <Show when={action.isBusy()}>
            <Mark isBusy class="mark-inline" />
          </Show>
          {action.isBusy() ? t("source.checking") : t("source.check")}
        </button>
        <span class="small muted">{t("source.checkHint")}</span>
      </div>
    </form>
  );
}

/** A short name from the address: `http://gpu-box:8000/v1` → `gpu-box`. */
function nameOf(url: string): string {
  try {
    return new URL(url).hostname.toLowerCase().replace(/[^a-z0-9]+/g, "-") || "local";
  } catch {
    return "local";
  }
}
