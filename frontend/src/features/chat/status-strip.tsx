import { For, type JSX, Show } from "solid-js";
import type { ModelSource, Session } from "../../api/rest";
import { clockTime, type Key, t } from "../../i18n";
import { modelKey, type PickedModel } from "../../state/models";
import type { SessionView } from "../../state/view";
import { createClock } from "../../ui/clock";
import { Given } from "../../ui/given";
import { Icon } from "../../ui/icon";
import { Menu, MenuItem } from "../../ui/menu";
import { ModelMenu } from "./model-menu";
import { Spent } from "./spent";

const LEVELS = ["off", "minimal", "low", "medium", "high", "xhigh"] as const;
export type Level = (typeof LEVELS)[number];

interface StripProps {
  view: SessionView;
  session: Session | undefined;
  sources: ModelSource[];
  isConnected: boolean;
  unsent: number;
  isAlive: boolean;
  onModel(model: PickedModel): void;
  onLevel(level: Level): void;
}

/** Saved or not, how long, how much, how the agent is held, and with what it thinks. */
export function StatusStrip(props: StripProps): JSX.Element {
  const saved = () => {
    if (!props.isConnected) return t("strip.offline");
    return props.unsent ? t("strip.sending") : t("strip.saved");
  };
  const cost = () => Math.max(props.session?.spent_usd ?? 0, props.view.costUsd);
  const provider = () => props.view.provider || props.session?.provider || "";
  const model = () => props.view.model || props.session?.model || "";
  const key = () => modelKey(provider(), model());
  const can = () => props.view.info?.capabilities ?? {};
  const reasons = () =>
    props.sources.find((source) => source.name === provider())?.models.find((one) => one.id === model())
      ?.reasoning ?? false;
  return (
    <div class="strip small">
      <span class="strip-fact" classList={{ "strip-warn": !props.isConnected || props.unsent > 0 }}>
        <Icon name={props.isConnected && !props.unsent ? "check" : "refresh"} />
        {saved()}
      </span>
      <Turn view={props.view} />
      <Spent session={props.session?.id ?? ""} cost={cost()} />
      <Held session={props.session} view={props.view} />
      <span class="grow" />
      <Show when={can().thinking && reasons()}>
        <Menu
          side="menu-up menu-end"
          buttonClass="btn btn-quiet btn-small"
          title={t("level.pick", { level: levelName(props.view.thinkingLevel) })}
          isNamedByTitle
          isDisabled={!props.isAlive}
          label={
            <>
              <Icon name="thought" />
              <span class="strip-level">{levelName(props.view.thinkingLevel)}</span>
            </>
          }
        >
          <p class="menu-heading">{t("level.title")}</p>
          <For each={LEVELS}>
            {(level) => (
              <MenuItem isChosen={level === props.view.thinkingLevel} onPick={() => props.onLevel(level)}>
                {levelName(level)}
              </MenuItem>
            )}
          </For>
        </Menu>
      </Show>
      <ModelMenu
        sources={props.sources}
        chosen={key()}
        fallback={model()}
        side="menu-up menu-end"
        isDisabled={!props.isAlive || !can().set_model}
        onPick={props.onModel}
      />
    </div>
  );
}

const levelName = (level: string): string =>
  (LEVELS as readonly string[]).includes(level) ? t(`level.${level}` as Key) : t("level.default");

function Turn(props: { view: SessionView }): JSX.Element {
  const now = createClock();
  const passed = () => {
    const since = props.view.workingSinceMs;
    const ms = props.view.isWorking && since ? now() - since : (props.view.lastTurnMs ?? 0);
    return ms < 1000 ? 0 : Math.floor(ms / 1000) * 1000;
  };
  return (
    <Show when={passed()}>
      <span class="strip-fact" title={t("strip.time")}>
        {clockTime(passed())}
      </span>
    </Show>
  );
}

function Held(props: { session: Session | undefined; view: SessionView }): JSX.Element {
  const info = () => props.view.info ?? heldBy(props.session);
  return (
    <Given value={info()}>
      {(held) => (
        <Show
          when={held().confinedBy}
          fallback={
            <span class="strip-fact strip-warn" title={t("strip.openTitle")}>
              <Icon name="alert" />
              {t("strip.open")}
            </span>
          }
        >
          <span
            class="strip-fact strip-wide"
            title={held().sandbox || t("strip.heldTitle", { by: held().confinedBy })}
          >
            <Icon name="shield" />
            {[held().profile || t("strip.held"), networkName(held().network)].filter(Boolean).join(" · ")}
          </span>
        </Show>
      )}
    </Given>
  );
}

function heldBy(session: Session | undefined) {
  if (!session) return null;
  const { confined_by: confinedBy, profile, network, sandbox } = session;
  return { confinedBy, profile, network, sandbox };
}

function networkName(network: string): string {
  if (!network) return "";
  if (/^(none|off|isolated|no)$/.test(network)) return t("strip.noNetwork");
  if (/^(open|full|host|all|shared)$/.test(network)) return t("strip.openNetwork");
  return t("strip.network", { network });
}
