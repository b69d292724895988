// What the buttons of a chat ask of the agent.
import { api } from "../../api/client";
import type { App } from "../../state/app";
import type { PickedModel } from "../../state/models";
import { createAction } from "../../ui/action";
import type { Answer } from "./question";
import type { Level } from "./status-strip";

export function createControls(app: App, id: string) {
  const ask = (cmd: string, fields: Record<string, unknown> = {}, timeoutMs?: number) =>
    app.mux.command(id, cmd, fields, timeoutMs).then(() => {});

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
    setModel,
    setLevel,
    answer: (requestId: string, answer: Answer) =>
      ask("input_response", { request_id: requestId, ...answer }),
    resume: async () => app.list.put(await api.resumeSession(id)),
    problem: () =>
      stopTurn.problem() ??
      abortRetry.problem() ??
      compact.problem() ??
      setModel.problem() ??
      setLevel.problem(),
  };
}
