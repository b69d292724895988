"""How the runner starts the bird, and how it talks with it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from oqto_runner.harness import Answer, Conversation, Step

from oqto_platform.canon import (
    AgentError,
    AgentIdle,
    AgentWorking,
    Capabilities,
    Command,
    FollowUp,
    Message,
    MessageEnd,
    MessageStart,
    Prompt,
    Steer,
    TextDelta,
    TextPart,
)
from oqto_platform.errors import AgentFailed
from oqto_platform.types import Launch, Session, SpawnPlan, new_id

BIRD = Path(__file__).with_name("bird.py")


class Parrot:
    """One kind of agent. The runner confines what `plan` describes."""

    name, title = "parrot", "Parrot"
    capabilities = Capabilities(abort=False, resume=True)

    def plan(self, session: Session, launch: Launch, home: Path) -> SpawnPlan:
        python = os.path.realpath(sys.executable)
        return SpawnPlan(
            argv=(python, "-I", "-S", str(BIRD)),
            cwd=session.workspace,
            env={"HOME": str(home), "PATH": os.defpath, **launch.env},
            readable=(sys.base_prefix, str(BIRD)),
            writable=(str(home),),
        )

    def conversation(self, session: Session, launch: Launch, home: Path) -> Conversation:
        return Talk()


class Talk:
    """The talk with one bird: commands and lines in, events and lines out, and nothing is waited for."""

    is_ready = False
    is_working = False

    def __init__(self) -> None:
        self._answer: list[str] = []
        self._id = ""

    def open(self, now: float) -> Step:
        return Step()

    def tick(self, now: float) -> Step:
        return Step()

    def command(self, token: int, command: Command, now: float) -> Step:
        if not isinstance(command, Prompt | Steer | FollowUp) or self.is_working:
            words = "the parrot listens to one message at a time and cannot do anything else"
            return Step(answers=(Answer(token=token, error=AgentFailed(words)),))
        self.is_working, self._answer, self._id = True, [], new_id("msg")
        heard = _message("user", command.message, client_id=command.client_id or None)
        return Step(
            events=(MessageEnd(message=heard), AgentWorking(), MessageStart(message_id=self._id)),
            lines=(msgspec.json.encode({"text": command.message}),),
            answers=(Answer(token=token),),
        )

    def receive(self, line: bytes, now: float) -> Step:
        try:
            said = msgspec.json.decode(line, type=dict[str, str])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Step()
        match said.get("say"):
            case "ready":
                self.is_ready = True
            case "word" if self.is_working:
                self._answer.append(said.get("text", ""))
                return Step(events=(TextDelta(message_id=self._id, delta=self._answer[-1]),))
            case "done" if self.is_working:
                return self._ended("stop")
        return Step()

    def close(self, now: float, cause: str) -> Step:
        if not self.is_working:
            return Step()
        ended = self._ended("error")
        return Step(events=(AgentError(error=cause, recoverable=False), *ended.events))

    def _ended(self, how: Any) -> Step:
        self.is_working = False
        answer = _message("assistant", "".join(self._answer), id=self._id, stop_reason=how)
        return Step(events=(MessageEnd(message=answer), AgentIdle(stop_reason=how)))


def _message(role: Any, text: str, **fields: Any) -> Message:
    parts = (TextPart(text=text),) if text else ()
    return Message(
        **{"id": new_id("msg"), **fields}, role=role, parts=parts, created_at=int(time.time() * 1000)
    )
