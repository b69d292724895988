"""
What the runner asks of an agent program: how to start it and how to talk with it.

A `Conversation` is sans-I/O: it is handed lines, commands and the time, and answers with a `Step` that
the runner carries out. So a recorded session is a test, and no agent can block the runner.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec

from oqto_platform.canon import Capabilities, Command, Event
from oqto_platform.errors import OqtoError
from oqto_platform.types import Launch, Session, SpawnPlan


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The one reply to the command that was handed in with `token`. `data` is JSON-able."""

    token: int
    data: Any = None
    error: OqtoError | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """
    What to do now, in this order: log `events`, then write `lines` to the agent, then give `answers`.

    The order is a promise: a person's message is on disk before the agent has it.
    """

    events: tuple[Event, ...] = ()
    lines: tuple[bytes, ...] = ()
    answers: tuple[Answer, ...] = ()


class Conversation(Protocol):
    """One running agent process. `now` is monotonic seconds. Nothing here may raise for bad agent output."""

    @property
    def is_ready(self) -> bool:
        """The agent has answered for the first time."""

    @property
    def is_working(self) -> bool:
        """A turn runs, or a question to the person is open."""

    def open(self, now: float) -> Step:
        """Right after the process was started."""

    def command(self, token: int, command: Command, now: float) -> Step:
        """A command from a person. Exactly one `Answer` with `token` follows, in this step or a later one."""

    def receive(self, line: bytes, now: float) -> Step:
        """One line of the agent's stdout, without its newline."""

    def tick(self, now: float) -> Step:
        """Time passes; called about four times a second. Deadlines live here."""

    def close(self, now: float, cause: str) -> Step:
        """The process is gone: end what is open (message, tools, question, turn), answer what waits."""


class Harness(Protocol):
    """One kind of agent program, registered by the hook `register_harnesses`."""

    @property
    def name(self) -> str:
        """Short and stable: `pi`."""

    @property
    def title(self) -> str:
        """For people: `Pi`."""

    @property
    def capabilities(self) -> Capabilities: ...

    def plan(self, session: Session, launch: Launch, home: Path) -> SpawnPlan:
        """
        How to start it. `home` is a private directory (0700) of this session, kept between starts.

        May write files in `home`. Raises `AgentFailed` with the repair when the program is missing.
        """

    def conversation(self, session: Session, launch: Launch, home: Path) -> Conversation:
        """The talk with the process that `plan` describes."""


@runtime_checkable
class Rehearsing(Protocol):
    """A harness whose program starts faster after a run that prepares it: once for each version of it."""

    def rehearsal(self, workspace: str) -> SpawnPlan | None:
        """That run, in an empty `workspace`; it ends at the end of its input. `None`: nothing to prepare."""

    def keep_rehearsal(self) -> None:
        """The run ended with status 0; what it wrote may be used."""
