// Messages on their way: kept in the browser until the server has them on disk. Sending one again is harmless,
// because the server knows its client_id.
import type { Image } from "../api/types.gen";

export type SendAs = "prompt" | "steer" | "follow_up";
export type Delivery = "waiting" | "sending" | "failed" | "taken";

export interface Letter {
  clientId: string;
  sessionId: string;
  sendAs: SendAs;
  text: string;
  images: Image[];
  writtenMs: number;
  delivery: Delivery;
  problem: string;
  /** False: too large for the browser's store, gone when this tab closes. */
  isStored: boolean;
}

export type Outbox = Letter[];

export function write(outbox: Outbox, letter: Letter): Outbox {
  return [...outbox, letter];
}

export function change(outbox: Outbox, clientId: string, fields: Partial<Letter>): Outbox {
  return outbox.map((letter) => (letter.clientId === clientId ? { ...letter, ...fields } : letter));
}

export function remove(outbox: Outbox, clientId: string): Outbox {
  return outbox.filter((letter) => letter.clientId !== clientId);
}

/** Whether the agent's own queue shows it already: its event overtakes the answer to the command. */
export function isQueued(letter: Letter, queue: string[]): boolean {
  return letter.sendAs !== "prompt" && queue.includes(letter.text);
}

/** What goes out next for a session: the oldest first, one at a time, so that order is kept. */
export function nextLetter(outbox: Outbox, sessionId: string): Letter | null {
  const mine = outbox.filter((letter) => letter.sessionId === sessionId && letter.delivery !== "taken");
  const first = mine.find((letter) => letter.delivery !== "failed");
  return first?.delivery === "waiting" ? first : null;
}

/** After a cut, what was on its way may or may not have arrived: it goes again. */
export function afterCut(outbox: Outbox): Outbox {
  return outbox.map((letter) =>
    letter.delivery === "sending" ? { ...letter, delivery: "waiting" } : letter,
  );
}

/** What must outlive the tab: everything that the server has not taken. */
export function toStore(outbox: Outbox): Outbox {
  return afterCut(outbox).filter((letter) => letter.delivery !== "taken");
}
