import type { Capabilities } from "../../api/types.gen";
import { t } from "../../i18n";
import type { ConversationAction } from "./header";

type Runs = Record<"new" | "back" | "conversations" | "compact", () => void>;

/** What can be done with a conversation, by menu and by `/name`; only what this agent can. */
export function conversationActions(can: Capabilities, runs: Runs): ConversationAction[] {
  const all: Array<Omit<ConversationAction, "run"> & { name: keyof Runs; is: boolean | undefined }> = [
    {
      name: "new",
      icon: "spark",
      title: t("conversation.new"),
      description: t("conversation.newText"),
      is: can.conversations,
    },
    {
      name: "back",
      icon: "branch",
      title: t("conversation.back"),
      description: t("conversation.backText"),
      is: can.fork,
    },
    {
      name: "conversations",
      icon: "refresh",
      title: t("conversation.others"),
      description: t("conversation.othersText"),
      is: can.conversations,
    },
    {
      name: "compact",
      icon: "down",
      title: t("chat.compact"),
      description: t("conversation.compactText"),
      is: can.compact,
    },
  ];
  return all.filter((one) => one.is).map(({ is: _, ...one }) => ({ ...one, run: runs[one.name] }));
}
