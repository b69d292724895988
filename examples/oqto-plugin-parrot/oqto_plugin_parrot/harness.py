"""How the runner starts the bird, and how it talks with it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from oqto_runner.harness import Answer, Conversation, Step

from oqto_platform import Launch, Session, SpawnPlan, canon
from oqto_platform.errors import AgentFailed
from oqto_platform.types import new_id

BIRD = Path(__file__).with_name("bird.py")


class Parrot:
    """One kind of agent. The runner confines what `plan` describes."""

    name, title = "parrot", "Parrot"
    capabilities = canon.Capabilities(abort=False, resume=True)

    def plan(self, session: Session, launch: Launch, home: Path) -> SpawnPlan:
        return SpawnPlan(
            argv=(os.path.realpath(sys.executable), "-I", "-S", str(BIRD)),
            cwd=session.workspace,
            env={"HOME": str(home), "PATH": os.defpath, **launch.env},
            readable=(sys.base_prefix, str(BIRD)),
            writable=(str(home),),
        )

    def conversation(self, session: Session, launch: Launch, home: Path) -> Conversation:
        return Talk()


class Talk:
    """The talk with one bird: commands and lines in, events and lines out, and nothing is waited for."""

    is_ready = is_working = False
    _id = _text = ""

    def open(self, now: float) -> Step:
        return Step()

    def tick(self, now: float) -> Step:
        return Step()

    def command(self, token: int, command: canon.Command, now: float) -> Step:
        if not isinstance(command, canon.Prompt | canon.Steer | canon.FollowUp) or self.is_working:
            words = "the parrot listens to one message at a time and cannot do anything else"
            return Step(answers=(Answer(token=token, error=AgentFailed(words)),))
        self.is_working, self._text, self._id = True, "", new_id("msg")
        heard = _message("user", command.message, client_id=command.client_id or None)
        begun = canon.MessageStart(message_id=self._id)
        return Step(
            events=(canon.MessageEnd(message=heard), canon.AgentWorking(), begun),
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
                self._text += (word := said.get("text", ""))
                return Step(events=(canon.TextDelta(message_id=self._id, delta=word),))
            case "done" if self.is_working:
                return self._ended("stop")
        return Step()

    def close(self, now: float, cause: str) -> Step:
        if not self.is_working:
            return Step()
        ended = self._ended("error")
        return Step(events=(canon.AgentError(error=cause, recoverable=False), *ended.events))

    def _ended(self, how: Any) -> Step:
        self.is_working = False
        answer = _message("assistant", self._text, id=self._id, stop_reason=how)
        return Step(events=(canon.MessageEnd(message=answer), canon.AgentIdle(stop_reason=how)))


def _message(role: Any, text: str, **fields: Any) -> canon.Message:
    parts = (canon.TextPart(text=text),) if text else ()
    fields = {"id": new_id("msg"), "created_at": int(time.time() * 1000), **fields}
    return canon.Message(role=role, parts=parts, **fields)
