// What a screen reader is told of a running turn: milestones, never tokens.
import type { Event } from "../api/types.gen";
import { t } from "../i18n";

export interface Milestone {
  text: string;
  isUrgent: boolean;
}

export function milestone(event: Event): Milestone | null {
  switch (event.event) {
    case "agent.idle":
      if (event.stop_reason === "aborted") return { text: t("say.stopped"), isUrgent: false };
      return event.stop_reason === "error" ? null : { text: t("say.finished"), isUrgent: false };
    case "tool.start":
      return { text: t("say.tool", { name: event.name }), isUrgent: false };
    case "agent.input_needed":
      return { text: t("say.question", { title: event.request.title }), isUrgent: true };
    case "agent.error":
      return { text: t("say.error", { error: event.error }), isUrgent: true };
    case "access.denied":
      return { text: event.sentence, isUrgent: false };
    case "session.closed":
      return { text: t("say.closed", { detail: event.detail ?? "" }), isUrgent: true };
    case "retry.start":
      return { text: t("say.retry", { attempt: event.attempt }), isUrgent: false };
    case "compact.start":
      return { text: t("say.compacting"), isUrgent: false };
    default:
      return null;
  }
}
