import {
  createEffect,
  createMemo,
  createSignal,
  type JSX,
  Match,
  on,
  onCleanup,
  onMount,
  Show,
  Switch,
} from "solid-js";
import { api } from "../../api/client";
import { t } from "../../i18n";
import { createSide, SidePanel, SideToggle } from "../../panels/side";
import { useApp } from "../../state/app";
import { allModels, modelKey } from "../../state/models";
import { isQueued, type Letter } from "../../state/outbox";
import { createAction } from "../../ui/action";
import { announce } from "../../ui/announcer";
import { Given } from "../../ui/given";
import { ProblemBox, ProblemLine } from "../../ui/problem";
import { titleOf } from "../sessions/session-list";
import { isAlive } from "../sessions/state";
import { conversationActions } from "./actions";
import { activity } from "./activity";
import { Composer } from "./composer";
import { createControls } from "./controls";
import { ConversationsDialog, GoBackDialog } from "./conversations";
import { Empty } from "./empty";
import { Ended, isFailure } from "./ended";
import { ChatHeader } from "./header";
import { QuestionCard } from "./question";
import { Queue } from "./queue";
import { StatusStrip } from "./status-strip";
import { Transcript } from "./transcript";

const ESC_TWICE_MS = 1_500;
const TITLE_CHARS = 60;

/** One conversation: what was said, what the agent does, and where to write. */
export function ChatPage(props: { id: string; onMenu(): void }): JSX.Element {
  const app = useApp();
  const live = app.follow(props.id);
  const { view } = live;
  const session = () => app.list.find(props.id);
  const [suggestion, setSuggestion] = createSignal("", { equals: false });
  const side = createSide();
  const controls = createControls(app, props.id);
  onCleanup(() => live.stop());
  onMount(() => {
    if (!session()) void app.list.refreshOne(props.id);
  });

  const alive = () => {
    const known = session();
    return known ? isAlive(known) && view.closed === null : view.closed === null;
  };
  const isTold = (letter: Letter) =>
    view.clientIds[letter.clientId] || isQueued(letter, [...view.steering, ...view.followUp]);
  const letters = createMemo(() =>
    app.post.outbox().filter((letter) => letter.sessionId === props.id && !isTold(letter)),
  );
  const unsent = () => letters().filter((letter) => letter.delivery !== "taken").length;
  // What the log has is told by the log; the letter has done its work.
  createEffect(() => {
    for (const letter of app.post.outbox()) {
      if (letter.sessionId === props.id && view.clientIds[letter.clientId]) app.post.discard(letter.clientId);
    }
  });

  const takeBack = (letter: Letter) => {
    app.post.discard(letter.clientId);
    setSuggestion("");
    setSuggestion(letter.text);
  };
  const isEmpty = () => letters().length === 0 && !view.items.some((item) => item.type === "message");
  const isGone = () => live.problem()?.status === 404;
  const capabilities = () => view.info?.capabilities ?? {};
  const takesImages = () => {
    const key = modelKey(view.provider, view.model);
    const model = allModels(app.models.sources()).find((one) => one.key === key);
    return (capabilities().prompt_images ?? false) && (model?.input.includes("image") ?? true);
  };
  const [asked, setAsked] = createSignal<"back" | "conversations" | null>(null);
  const actions = createMemo(() =>
    conversationActions(capabilities(), {
      new: () => void controls.newConversation.run(),
      back: () => setAsked("back"),
      conversations: () => setAsked("conversations"),
      compact: () => void controls.compact.run(),
    }),
  );
  // A first message names the session until the agent or the reader finds a better title.
  const nameAfter = (text: string) => {
    const line = text.trim().split("\n")[0]?.slice(0, TITLE_CHARS) ?? "";
    const isNamed =
      view.title !== "" || session()?.title !== "" || view.items.some((item) => item.type === "message");
    if (line && !isNamed) api.renameSession(props.id, line).then(app.list.put, () => {});
  };
  const title = () => {
    if (isGone()) return t("chat.goneTitle");
    const known = session();
    return view.title || (known ? titleOf(known) : t("sessions.untitled"));
  };
  const facts = () => {
    const known = session();
    if (!known) return undefined;
    const { id, workspace, harness, state } = known;
    return { id, workspace, harness, state, title: title() };
  };
  const told = () => {
    if (view.closed) return isFailure(view.closed) ? "failed" : "ended";
    return view.questions.length ? "asks" : null;
  };
  createEffect(() => app.setTold({ id: props.id, told: told() }));
  onCleanup(() => app.setTold(null));
  createEffect(() => {
    document.title = `${view.isWorking ? "● " : ""}${title()} · Oqto`;
  });
  onCleanup(() => {
    document.title = "Oqto";
  });

  let escapedAt = 0;
  const onKey = (event: KeyboardEvent) => {
    const isFree = !(event.target as HTMLElement).closest("dialog, [role=menu]");
    if (event.key !== "Escape" || event.isComposing || !view.isWorking || !isFree) return;
    event.preventDefault();
    if (Date.now() - escapedAt < ESC_TWICE_MS) void controls.stopTurn.run();
    else announce(t("composer.escAgain"), true);
    escapedAt = Date.now();
    setEscHint(true);
    clearTimeout(escTimer);
    escTimer = setTimeout(() => setEscHint(false), ESC_TWICE_MS);
  };
  const [isEscHint, setEscHint] = createSignal(false);
  let escTimer: ReturnType<typeof setTimeout> | undefined;
  onMount(() => window.addEventListener("keydown", onKey));
  onCleanup(() => {
    window.removeEventListener("keydown", onKey);
    clearTimeout(escTimer);
  });

  const resume = createAction(async () => {
    await controls.resume();
    live.retry();
  });
  createEffect(on(alive, (is, was) => is && was === false && void app.post.deliver(props.id)));

  return (
    <div class="chat-frame">
      <div class="chat" inert={side.covers()}>
        <ChatHeader
          session={session()}
          title={title()}
          isAlive={alive()}
          actions={alive() ? actions() : []}
          isWorking={view.isWorking}
          panels={<SideToggle side={side} />}
          onMenu={props.onMenu}
        />
        <Switch>
          <Match when={isGone()}>
            <div class="page page-middle">
              <h2>{t("chat.gone")}</h2>
              <p class="muted lead">{t("chat.goneWhy")}</p>
              <div>
                <a class="btn" href="#/">
                  {t("chat.toHome")}
                </a>
              </div>
            </div>
          </Match>
          <Match when={live.following() === "loading" && isEmpty()}>
            <div class="transcript-frame">
              <div class="column stack skeleton-chat" role="status" aria-label={t("chat.loading")}>
                <div class="skeleton skeleton-short" />
                <div class="skeleton" />
                <div class="skeleton skeleton-tall" />
              </div>
            </div>
          </Match>
          <Match when={true}>
            <Transcript
              view={view}
              letters={letters()}
              activity={activity(view)}
              onAbortRetry={() => void controls.abortRetry.run()}
              onRetryLetter={(letter) => app.post.retry(letter)}
              onDiscardLetter={takeBack}
            >
              <Given value={live.following() === "failed" && !isGone() && live.problem()}>
                {(problem) => (
                  <ProblemBox
                    title={t("chat.followFailed")}
                    problem={problem()}
                    safe={t("chat.followSafe")}
                    onRetry={live.retry}
                  />
                )}
              </Given>
              <Show when={isEmpty() && alive()}>
                <Empty folder={session()?.workspace_name ?? ""} onPick={setSuggestion} />
              </Show>
              <Show when={!alive() && live.following() !== "loading"}>
                <Ended session={session()} closed={view.closed} resume={resume} />
              </Show>
            </Transcript>
          </Match>
        </Switch>
        <Show when={!isGone()}>
          <div class="dock">
            <div class="column">
              <Show when={view.questions[0]} keyed>
                {(question) => (
                  <QuestionCard
                    question={question}
                    onAnswer={(answer) => controls.answer(question.request.request_id, answer)}
                  />
                )}
              </Show>
              <Queue steering={view.steering} followUp={view.followUp} />
              <ProblemLine problem={controls.problem()} class="composer-note" />
              <Show when={isEscHint() && view.isWorking}>
                <p class="composer-note small">{t("composer.escAgain")}</p>
              </Show>
              <Composer
                sessionId={props.id}
                accountId={app.account.id}
                isWorking={view.isWorking}
                isStopping={controls.stopTurn.isBusy()}
                takesImages={takesImages()}
                placeholder={
                  alive()
                    ? t(view.isWorking ? "composer.placeholderBusy" : "composer.placeholder")
                    : t("composer.placeholderEnded")
                }
                suggestion={suggestion()}
                commands={{ own: actions(), load: controls.commands }}
                onSend={(sendAs, text, images) => {
                  nameAfter(text);
                  app.post.send(
                    props.id,
                    sendAs,
                    text,
                    images.map(({ data, media_type }) => ({ data, media_type })),
                  );
                  if (!alive()) void resume.run();
                }}
                onStop={() => void controls.stopTurn.run()}
              />
              <StatusStrip
                view={view}
                session={session()}
                sources={app.models.sources()}
                isConnected={app.connection() === "open"}
                unsent={unsent()}
                isAlive={alive()}
                onModel={(model) => void controls.setModel.run(model)}
                onLevel={(level) => void controls.setLevel.run(level)}
              />
            </div>
          </div>
        </Show>
      </div>
      <Show when={asked() === "back"}>
        <GoBackDialog
          load={controls.forkPoints}
          onPick={async (point) => void setSuggestion(await controls.fork(point))}
          onClose={() => setAsked(null)}
        />
      </Show>
      <Show when={asked() === "conversations"}>
        <ConversationsDialog
          load={controls.conversations}
          onPick={controls.switchTo}
          onClose={() => setAsked(null)}
        />
      </Show>
      <SidePanel side={side} session={facts()} onSuggest={setSuggestion} />
    </div>
  );
}
