// What the buttons of a chat ask of the agent.
import { api } from "../../api/client";
import { toProblem } from "../../api/problem";
import type { Session } from "../../api/rest";
import type { App } from "../../state/app";
import type { PickedModel } from "../../state/models";
import { createAction } from "../../ui/action";
import type { Answer } from "./question";
import type { SlashCommand } from "./slash";
import type { Level } from "./status-strip";

const OVER_WITHIN_MS = 20_000;
const LOOK_AGAIN_MS = 1_000;

/** The agent's end is seen here a moment before the server has settled it; until then it answers 409. */
async function resumeWhenOver(id: string): Promise<Session> {
  const until = Date.now() + OVER_WITHIN_MS;
  for (;;) {
    try {
      return await api.resumeSession(id);
    } catch (reason) {
      if (toProblem(reason).status !== 409 || Date.now() > until) throw reason;
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    }
  }
}

export interface ForkPoint {
  entry_id: string;
  text: string;
}

/** One of the conversations that the agent remembers; `used_at` in seconds. */
export interface ConversationFacts {
  session_path: string;
  title: string;
  used_at: number;
  is_current: boolean;
}

const CHANGE_MS = 60_000;

export function createControls(app: App, id: string) {
  const ask = (cmd: string, fields: Record<string, unknown> = {}, timeoutMs?: number) =>
    app.mux.command(id, cmd, fields, timeoutMs).then(() => {});

  const query = <T>(cmd: string) => app.mux.command<T>(id, cmd);

  const newConversation = createAction(() => ask("session.new", {}, CHANGE_MS));
  const stopTurn = createAction(() => ask("abort"));
  const abortRetry = createAction(() => ask("abort_retry"));
  const compact = createAction(() => ask("compact", { instructions: "" }, 180_000));
  const setModel = createAction((model: PickedModel) =>
    ask("set_model", { provider: model.provider, model_id: model.id }),
  );
  const setLevel = createAction((level: Level) => ask("set_thinking_level", { level }));

  return {
    stopTurn,
    abortRetry,
    compact,
    newConversation,
    /** What the agent knows to do when told `/name`. */
    commands: () => query<{ commands: SlashCommand[] }>("get_commands").then(({ commands }) => commands),
    /** The own messages of this conversation, the last one first. */
    forkPoints: () =>
      query<{ points: ForkPoint[] }>("get_fork_points").then(({ points }) => points.reverse()),
    /** Goes back to before a message; resolves with its text. */
    fork: (point: ForkPoint) =>
      app.mux
        .command<{ text?: string }>(id, "fork", { entry_id: point.entry_id }, CHANGE_MS)
        .then(({ text }) => text ?? point.text),
    /** The other conversations of this session, the last used first. */
    conversations: () =>
      query<{ conversations: ConversationFacts[] }>("get_conversations").then(({ conversations }) =>
        conversations.filter((one) => !one.is_current),
      ),
    switchTo: (one: ConversationFacts) =>
      ask("session.switch", { session_path: one.session_path }, CHANGE_MS),
    setModel,
    setLevel,
    answer: (requestId: string, answer: Answer) =>
      ask("input_response", { request_id: requestId, ...answer }),
    resume: async () => app.list.put(await resumeWhenOver(id)),
    problem: () =>
      stopTurn.problem() ??
      abortRetry.problem() ??
      compact.problem() ??
      newConversation.problem() ??
      setModel.problem() ??
      setLevel.problem(),
  };
}
