"""Tells the log of one session what its sandbox denied: each thing once in a while, and not without end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable

import msgspec

from oqto_platform import clock
from oqto_platform.canon import AccessDenied, Event, Notify
from oqto_platform.types import ToolCall
from oqto_plugin_sandbox.denials import judging
from oqto_plugin_sandbox.denials.judging import Held
from oqto_plugin_sandbox.egress.rules import Decision
from oqto_plugin_sandbox.limits import Groups

AGAIN_S = 30.0
MOST = 200
"""Of one start of a session. An agent that runs against a wall for hours fills the audit log, not the chat."""

_SENTENCES = {
    "memory": ("limits.memory_mb", "A process was killed: the session used more memory than its limit"),
    "pids": ("limits.pids", "The session could not start another process: it has as many as its limit"),
}
_ENDS = {
    "wall": ("limits.wall_seconds", "The session was ended: its time is over"),
    "cpu": ("limits.cpu_seconds", "The session was ended: its processor time is used up"),
}


class Voice:
    """For one sandbox. `report` is the end of a pipe in which its first process says what it saw."""

    def __init__(self, held: Held, groups: Groups, report: int, tell: Callable[[Event], object]) -> None:
        self._held = held
        self._groups = groups
        self._met = groups.met()
        self._report = report
        self._tell = tell
        self._told: dict[tuple[str, str, str], float] = {}
        self._count = 0

    def decided(self, decision: Decision) -> None:
        """A decision of the session's proxy."""
        if not decision.is_allowed:
            self._say(judging.network_denied(self._held.policy, decision))

    def heard(self, call: ToolCall) -> list[AccessDenied]:
        """What a tool met; may take milliseconds, so it is made for a thread."""
        found = list(judging.denials(self._held, call))
        return [msgspec.structs.replace(denial, tool_call_id=call.id) for denial in found]

    def say(self, denials: Iterable[AccessDenied], tool_call_id: str = "") -> None:
        """What was found, and what the control groups have counted since they were last asked."""
        for denial in (*denials, *self._limits(tool_call_id)):
            self._say(denial)

    def warn(self, message: str) -> None:
        self._tell(Notify(level="warning", message=self._shortened(message)))

    def last_words(self) -> None:
        """The sandbox is gone: what its first process said at the end."""
        self.say(())
        for words in self._reports():
            self._say(self._reported(words))

    def close(self) -> None:
        if self._report >= 0:
            os.close(self._report)
            self._report = -1

    def _limits(self, tool_call_id: str) -> list[AccessDenied]:
        before, self._met = self._met, self._groups.met()
        more = [name for name, count in self._met.items() if count > before.get(name, 0)]
        found = [judging.limit_denied(self._held.policy, *_SENTENCES[name]) for name in more]
        return [msgspec.structs.replace(denial, tool_call_id=tool_call_id) for denial in found]

    def _reports(self) -> list[list[str]]:
        parts = []
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._report, 1 << 16):
                parts.append(part)
        lines = b"".join(parts).decode(errors="replace").splitlines()
        return [line.split("\t") for line in lines if line]

    def _reported(self, words: list[str]) -> AccessDenied:
        if words[0] in _ENDS:
            return judging.limit_denied(self._held.policy, *_ENDS[words[0]])
        return judging.processes_ended(self._held.policy, words[1:])

    def _say(self, denial: AccessDenied) -> None:
        now = clock.monotonic()
        things = {(denial.kind, denial.target, call) for call in ("", denial.tool_call_id)}
        if self._count >= MOST or any(now - self._told.get(thing, -AGAIN_S) < AGAIN_S for thing in things):
            return
        self._told[denial.kind, denial.target, denial.tool_call_id] = now
        self._count += 1
        self._tell(msgspec.structs.replace(denial, sentence=self._shortened(denial.sentence)))
        if self._count == MOST:
            self.warn(
                f"The sandbox has denied {MOST} things in this session; further ones are only in the audit log."
            )

    def _shortened(self, sentence: str) -> str:
        """Paths as a person in this workspace would write them."""
        held = self._held
        return sentence.replace(f"{held.workspace}/", "").replace(f"{held.home}/", "~/")
