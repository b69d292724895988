import { createResource, For, type JSX, Match, Switch } from "solid-js";
import { toProblem } from "../../api/problem";
import { ago, t } from "../../i18n";
import { createAction } from "../../ui/action";
import { Dialog } from "../../ui/dialog";
import { Given } from "../../ui/given";
import { ProblemBox, ProblemLine } from "../../ui/problem";
import type { ConversationFacts, ForkPoint } from "./controls";

interface ChooseProps<T> {
  title: string;
  lead: string;
  empty: string;
  load(): Promise<T[]>;
  onPick(one: T): Promise<void>;
  onClose(): void;
  row(one: T): JSX.Element;
}

/** A dialog with one button for each thing that may be chosen. */
function Choose<T>(props: ChooseProps<T>): JSX.Element {
  const [found, { refetch }] = createResource(() => props.load());
  // What failed to load throws when it is read.
  const isThere = () => found.state === "ready";
  const action = createAction(async (one: T) => {
    await props.onPick(one);
    props.onClose();
  });
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <p class="muted">{props.lead}</p>
      <ProblemLine problem={action.problem()} />
      <Switch>
        <Match when={found.error}>
          <ProblemBox title={t("choose.failed")} problem={toProblem(found.error)} onRetry={refetch} />
        </Match>
        <Match when={found.loading}>
          <div class="skeleton skeleton-tall" role="status" aria-label={t("choose.loading")} />
        </Match>
        <Match when={isThere() && found()?.length === 0}>
          <p>{props.empty}</p>
        </Match>
      </Switch>
      <Given value={isThere() && found()}>
        {(all) => (
          <ul class="choose">
            <For each={all()}>
              {(one) => (
                <li>
                  <button
                    type="button"
                    class="choose-item"
                    disabled={action.isBusy()}
                    onClick={() => void action.run(one)}
                  >
                    {props.row(one)}
                  </button>
                </li>
              )}
            </For>
          </ul>
        )}
      </Given>
    </Dialog>
  );
}

interface DialogProps<T> {
  load(): Promise<T[]>;
  onPick(one: T): Promise<void>;
  onClose(): void;
}

/** Back to before one of the own messages, and on from there. */
export function GoBackDialog(props: DialogProps<ForkPoint>): JSX.Element {
  return (
    <Choose
      {...props}
      title={t("back.title")}
      lead={t("back.lead")}
      empty={t("back.empty")}
      row={(point) => <span class="choose-text">{point.text}</span>}
    />
  );
}

/** Another conversation that the agent of this session remembers. */
export function ConversationsDialog(props: DialogProps<ConversationFacts>): JSX.Element {
  return (
    <Choose
      {...props}
      title={t("conversations.title")}
      lead={t("conversations.lead")}
      empty={t("conversations.empty")}
      row={(one) => (
        <>
          <span class="grow truncate">{one.title || t("conversations.untitled")}</span>
          <span class="small muted">{ago(one.used_at, Date.now())}</span>
        </>
      )}
    />
  );
}
