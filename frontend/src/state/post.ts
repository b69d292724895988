// The way of a message from the keyboard to the server's disk.
import { createSignal } from "solid-js";
import type { Mux } from "../api/mux";
import { toProblem } from "../api/problem";
import type { Image } from "../api/types.gen";
import {
  afterCut,
  change,
  type Letter,
  nextLetter,
  type Outbox,
  remove,
  type SendAs,
  toStore,
  write,
} from "./outbox";
import { loadJson, save } from "./storage";

const AGAIN_MS = 2_500;
const PROMPT_REPLY_MS = 60_000;

export function createPost(mux: Mux, accountId: string) {
  const prefix = `oqto.letter.${accountId}.`;
  const [outbox, setOutbox] = createSignal<Outbox>(readAll(prefix));
  const timers = new Set<ReturnType<typeof setTimeout>>();

  // One key per letter: two tabs never overwrite each other's.
  const store = (letter: Letter) => {
    const [kept] = toStore([letter]);
    return save(prefix + letter.clientId, kept ? JSON.stringify(kept) : null);
  };

  const update = (clientId: string, fields: Partial<Letter>) => {
    setOutbox((all) => change(all, clientId, fields));
    const letter = outbox().find((one) => one.clientId === clientId);
    if (letter) store(letter);
  };

  const discard = (clientId: string) => {
    setOutbox((all) => remove(all, clientId));
    save(prefix + clientId, null);
  };

  const deliver = async (sessionId: string): Promise<void> => {
    const letter = nextLetter(outbox(), sessionId);
    if (!letter || mux.connection !== "open") return;
    update(letter.clientId, { delivery: "sending", problem: "" });
    try {
      await mux.command(sessionId, letter.sendAs, fieldsOf(letter), PROMPT_REPLY_MS);
      taken(letter);
    } catch (reason) {
      refused(letter, reason);
      return;
    }
    await deliver(sessionId);
  };

  const taken = (letter: Letter) => {
    update(letter.clientId, { delivery: "taken" });
    // Queued messages show in the agent's own queue; a prompt stays until its event has come.
    if (letter.sendAs !== "prompt") discard(letter.clientId);
  };

  const refused = (letter: Letter, reason: unknown) => {
    const problem = toProblem(reason);
    if (!problem.isPassing) {
      update(letter.clientId, { delivery: "failed", problem: problem.detail });
      return;
    }
    update(letter.clientId, { delivery: "waiting", problem: problem.detail });
    if (problem.code === "unreachable") return;
    const timer = setTimeout(() => {
      timers.delete(timer);
      void deliver(letter.sessionId);
    }, AGAIN_MS);
    timers.add(timer);
  };

  const send = (sessionId: string, sendAs: SendAs, text: string, images: Image[]): Letter => {
    const letter: Letter = {
      clientId: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`,
      sessionId,
      sendAs,
      text,
      images,
      writtenMs: Date.now(),
      delivery: "waiting",
      problem: "",
      isStored: true,
    };
    const isStored = store(letter);
    setOutbox((all) => write(all, { ...letter, isStored }));
    void deliver(sessionId);
    return letter;
  };

  return {
    outbox,
    send,
    discard,
    deliver,
    /** The connection is back: everything that was not confirmed goes again. */
    deliverAll: () => {
      setOutbox(afterCut);
      for (const id of new Set(outbox().map((letter) => letter.sessionId))) void deliver(id);
    },
    cut: () => setOutbox(afterCut),
    retry: (letter: Letter) => {
      update(letter.clientId, { delivery: "waiting", problem: "" });
      void deliver(letter.sessionId);
    },
    close: () => {
      for (const timer of timers) clearTimeout(timer);
    },
  };
}

function fieldsOf(letter: Letter): Record<string, unknown> {
  return { message: letter.text, images: letter.images, client_id: letter.clientId };
}

function readAll(prefix: string): Outbox {
  return storedKeys(prefix)
    .map((key) => loadJson<Letter | null>(key, null))
    .filter((letter): letter is Letter => letter !== null)
    .sort((a, b) => a.writtenMs - b.writtenMs);
}

function storedKeys(prefix: string): string[] {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(prefix));
  } catch {
    return [];
  }
}
