import { t } from "../../i18n";
import type { MessageItem, SessionView } from "../../state/view";

/** What to say while the agent works and nothing grows on the screen; empty when something does. */
export function activity(view: SessionView): string {
  if (!view.isWorking || view.questions.length) return "";
  const status = Object.values(view.statuses)[0];
  if (status) return status;
  if (view.phase === "compacting" || view.phase === "retrying" || view.phase === "tool_running") return "";
  const last = view.items.at(-1);
  if (last?.type === "message" && last.isStreaming && growing(last)) return "";
  return view.phase === "initializing" ? t("activity.starting") : t("activity.thinking");
}

function growing(message: MessageItem): boolean {
  const part = message.parts.at(-1);
  return part !== undefined && part.kind !== "other" && !(part.kind === "thinking" && !part.text.trim());
}
