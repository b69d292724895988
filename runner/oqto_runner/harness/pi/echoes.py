"""Which user messages of pi's stream are already in the log.

A person's message is logged when it is sent; pi repeats it when the agent gets to read it, which may be
much later for a steer or a follow-up. The rule for a user message that pi tells:

1. Its text equals one that was sent and not told yet (the oldest such): it is that one, say nothing.
   Hints on images, which pi appends after an empty line, do not count. The text of a queued message is
   the one that `queue_update` showed, so templates that pi expands are recognised.
2. Else, if it is the first of a run that a sent message began: it is that message, changed by a template,
   a skill or an extension. Say it again under the same id with the words that the agent reads;
   `metadata.typed` keeps the person's own.
3. Else it is pi's own (an extension sent it, or a client before this process): a message of its own.

Commands of extensions (`/name`) are never told by pi, so they are not waited for. What was never told
is forgotten when the agent settles with empty queues.
"""

from __future__ import annotations

import msgspec

from oqto_platform.canon import Message


class Sent(msgspec.Struct, kw_only=True):
    """A logged message that pi has or will get."""

    message: Message
    typed: str
    text: str
    is_queued: bool = False
    is_taken: bool = False


class Echoes:
    """What was sent and not told yet, oldest first."""

    def __init__(self) -> None:
        self._waiting: list[Sent] = []
        self._opener: Sent | None = None

    def expect(self, message: Message, typed: str) -> Sent:
        sent = Sent(message=message, typed=typed, text=typed)
        self._waiting.append(sent)
        return sent

    def forget(self, sent: Sent) -> None:
        if sent in self._waiting:
            self._waiting.remove(sent)

    def forget_taken(self) -> None:
        """Nothing that pi has taken will be told any more."""
        self._waiting = [sent for sent in self._waiting if not sent.is_taken]
        self._opener = None

    def queued(self, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        """A queue of pi has changed: its new entries are the oldest sent messages that are not in it yet."""
        fresh = after[len(before) :] if after[: len(before)] == before else ()
        for text in fresh:
            sent = next((one for one in self._waiting if one.text == text and not one.is_queued), None)
            sent = sent or next(
                (one for one in self._waiting if not one.is_queued and not one.is_taken), None
            )
            if sent is not None:
                sent.text, sent.is_queued = text, True

    def run_started(self) -> None:
        """The oldest message that did not go into a queue began this run."""
        self._opener = next((one for one in self._waiting if not one.is_queued), None)

    def told(self, text: str) -> tuple[Sent | None, bool]:
        """Pi tells a user message: which sent one it is, and whether the words are the same."""
        opener, self._opener = self._opener, None
        same = next((one for one in self._waiting if _is_same(one, text)), None)
        found = same or (opener if opener in self._waiting else None)
        if found is not None:
            self._waiting.remove(found)
        return found, same is not None


def _is_same(sent: Sent, text: str) -> bool:
    if sent.text == text:
        return True
    has_images = any(part.__struct_config__.tag == "image" for part in sent.message.parts)
    return has_images and text.startswith(f"{sent.text}\n\n")
