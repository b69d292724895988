import { createSignal, createUniqueId, For, type JSX, onMount, Show } from "solid-js";
import type { InputRequest } from "../../api/types.gen";
import { duration, t } from "../../i18n";
import type { Question } from "../../state/view";
import { createAction } from "../../ui/action";
import { createClock } from "../../ui/clock";
import { Icon } from "../../ui/icon";
import { ProblemLine } from "../../ui/problem";

export interface Answer {
  value?: string;
  confirmed?: boolean;
  cancelled?: boolean;
}

interface QuestionProps {
  question: Question;
  onAnswer(answer: Answer): Promise<void>;
}

/** The agent waits for a person: one card, focused, with the time that is left. */
export function QuestionCard(props: QuestionProps): JSX.Element {
  const titleId = createUniqueId();
  let card!: HTMLElement;
  const action = createAction((answer: Answer) => props.onAnswer(answer));
  const request = () => props.question.request;
  onMount(() => {
    // Someone who is writing keeps the cursor; the card is announced and stands above the composer.
    const writing = document.activeElement instanceof HTMLTextAreaElement && document.activeElement.value;
    if (!writing) card.querySelector<HTMLElement>("[data-first]")?.focus();
  });
  const answer = (given: Answer) => void action.run(given);
  return (
    <section ref={card} class="question" aria-labelledby={titleId}>
      <div class="row">
        <Icon name="info" />
        <h2 id={titleId} class="grow plain">
          {request().title}
        </h2>
        <TimeLeft question={props.question} />
      </div>
      <AnswerForm request={props.question.request} onAnswer={answer} />
      <ProblemLine problem={action.problem()} />
    </section>
  );
}

function TimeLeft(props: { question: Question }): JSX.Element {
  const now = createClock();
  const leftMs = () => {
    const limit = props.question.request.timeout_ms;
    return limit ? Math.max(0, props.question.askedMs + limit - now()) : null;
  };
  return (
    <Show when={leftMs() !== null}>
      <span class="small muted" role="timer" aria-live="off">
        {t("question.left", { time: duration(Math.ceil((leftMs() ?? 0) / 1000) * 1000) })}
      </span>
    </Show>
  );
}

/** A question never changes its kind; another one gets a card of its own. */
function AnswerForm(props: Give & { request: InputRequest }): JSX.Element {
  const { request } = props;
  switch (request.type) {
    case "select":
      return <Options options={request.options} onAnswer={props.onAnswer} />;
    case "confirm":
      return <Confirm message={request.message ?? ""} onAnswer={props.onAnswer} />;
    case "input":
      return <TextAnswer hint={request.placeholder ?? ""} start="" onAnswer={props.onAnswer} />;
    case "editor":
      return <TextAnswer isLong hint="" start={request.prefill ?? ""} onAnswer={props.onAnswer} />;
  }
}

type Give = { onAnswer(answer: Answer): void };

function Dismiss(props: Give): JSX.Element {
  return (
    <button type="button" class="btn btn-quiet" onClick={() => props.onAnswer({ cancelled: true })}>
      {t("question.dismiss")}
    </button>
  );
}

function Options(props: Give & { options: string[] }): JSX.Element {
  return (
    <div class="stack-tight">
      <For each={props.options}>
        {(option, at) => (
          <button
            type="button"
            class="btn question-option"
            data-first={at() === 0 ? "" : undefined}
            onClick={() => props.onAnswer({ value: option })}
          >
            {option}
          </button>
        )}
      </For>
      <div class="dialog-actions">
        <Dismiss onAnswer={props.onAnswer} />
      </div>
    </div>
  );
}

function Confirm(props: Give & { message: string }): JSX.Element {
  return (
    <div class="stack-tight">
      <Show when={props.message}>
        <p class="plain">{props.message}</p>
      </Show>
      <div class="dialog-actions">
        <button type="button" class="btn" data-first="" onClick={() => props.onAnswer({ confirmed: false })}>
          {t("question.no")}
        </button>
        <button type="button" class="btn btn-primary" onClick={() => props.onAnswer({ confirmed: true })}>
          {t("question.yes")}
        </button>
      </div>
    </div>
  );
}

function TextAnswer(props: Give & { isLong?: boolean; hint: string; start: string }): JSX.Element {
  const [text, setText] = createSignal(props.start);
  const id = createUniqueId();
  return (
    <form
      class="stack-tight"
      onSubmit={(event) => {
        event.preventDefault();
        props.onAnswer({ value: text() });
      }}
    >
      <label class="visually-hidden" for={id}>
        {t("question.answer")}
      </label>
      <Show
        when={props.isLong}
        fallback={
          <input
            id={id}
            class="input"
            data-first=""
            placeholder={props.hint}
            value={text()}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        }
      >
        <textarea
          id={id}
          class="textarea mono"
          data-first=""
          rows={8}
          value={text()}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </Show>
      <div class="dialog-actions">
        <Dismiss onAnswer={props.onAnswer} />
        <button type="submit" class="btn btn-primary">
          {t("question.send")}
        </button>
      </div>
    </form>
  );
}
