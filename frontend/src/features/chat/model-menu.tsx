import { For, type JSX, Show } from "solid-js";
import type { ModelSource } from "../../api/rest";
import { t } from "../../i18n";
import { allModels, type PickedModel } from "../../state/models";
import { Given } from "../../ui/given";
import { Icon } from "../../ui/icon";
import { Menu, MenuItem } from "../../ui/menu";

interface ModelMenuProps {
  sources: ModelSource[];
  /** `provider/model`. */
  chosen: string;
  /** Shown when the chosen model is of no known source. */
  fallback?: string;
  side: string;
  isDisabled?: boolean;
  onPick(model: PickedModel): void;
}

export function ModelMenu(props: ModelMenuProps): JSX.Element {
  const models = () => allModels(props.sources);
  const current = () => models().find((model) => model.key === props.chosen);
  const name = () => current()?.name || current()?.id || props.fallback || t("model.none");
  return (
    <Menu
      side={props.side}
      buttonClass="btn btn-quiet model-button"
      title={t("model.pick", { name: name() })}
      isDisabled={props.isDisabled || models().length === 0}
      label={
        <>
          <span class="truncate">{name()}</span>
          <Show when={current()?.isDemo}>
            <span class="tag tag-demo">{t("model.demo")}</span>
          </Show>
          <Icon name="down" />
        </>
      }
    >
      <For each={props.sources}>
        {(source) => (
          <>
            <p class="menu-heading">{source.title || source.name}</p>
            <For each={models().filter((model) => model.provider === source.name)}>
              {(model) => (
                <MenuItem isChosen={model.key === props.chosen} onPick={() => props.onPick(model)}>
                  <span class="grow truncate">{model.name || model.id}</span>
                  <Given value={priceOf(model)}>
                    {(price) => <span class="small muted">{price()}</span>}
                  </Given>
                  <Show when={model.key === props.chosen}>
                    <Icon name="check" />
                  </Show>
                </MenuItem>
              )}
            </For>
          </>
        )}
      </For>
    </Menu>
  );
}

function priceOf(model: PickedModel): string {
  if (model.isDemo) return t("model.free");
  if (model.cost_input === null || model.cost_output === null) return "";
  return t("model.price", { input: model.cost_input, output: model.cost_output });
}
