"""The harness `echo`: a real process with a scripted mind, for demonstrations, benchmarks and plugin authors."""

from __future__ import annotations

import os
import sys
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from oqto_platform import clock
from oqto_platform.canon import (
    Abort,
    AgentError,
    AgentIdle,
    AgentWorking,
    Capabilities,
    Command,
    ConfirmRequest,
    Event,
    FollowUp,
    GetState,
    InputNeeded,
    InputResolved,
    InputResponse,
    Message,
    MessageEnd,
    MessageStart,
    Prompt,
    QueueChanged,
    Steer,
    TextDelta,
    TextPart,
    TitleChanged,
    ToolEnd,
    ToolProgress,
    ToolStart,
)
from oqto_platform.errors import AgentFailed, Invalid
from oqto_platform.types import Launch, Session, SpawnPlan, new_id
from oqto_runner.harness import Answer, Conversation, Step

_PROGRAM = Path(__file__).with_name("echo_agent.py")


class Said(msgspec.Struct, frozen=True):
    """One line of the program."""

    type: str
    text: str = ""
    name: str = ""
    title: str = ""
    input: Any = None
    output: Any = None
    error: bool = False
    aborted: bool = False


class Echo:
    """Starts `echo_agent.py` with the runner's own Python."""

    name = "echo"
    title = "Echo"
    capabilities = Capabilities(follow_up=True, resume=True, input_request_kinds=("confirm",))

    def plan(self, session: Session, launch: Launch, home: Path) -> SpawnPlan:
        python = os.path.realpath(sys.executable)
        return SpawnPlan(
            argv=(python, "-I", "-S", "-u", str(_PROGRAM)),
            cwd=session.workspace,
            env={"OQTO_SESSION_ID": session.id, "HOME": str(home), "PATH": os.defpath, **launch.env},
            readable=(sys.base_prefix, str(_PROGRAM)),
            writable=(str(home),),
            relays=launch.relays,
        )

    def conversation(self, session: Session, launch: Launch, home: Path) -> Conversation:
        return EchoConversation()


class EchoConversation:
    """The talk with one echo program."""

    def __init__(self) -> None:
        self.is_ready = False
        self._has_turn = False
        self._question = ""
        self._message = ""
        self._tool = ""
        self._queue: deque[Prompt | FollowUp | Steer] = deque()

    @property
    def is_working(self) -> bool:
        return self._has_turn

    def open(self, now: float) -> Step:
        return Step()

    def tick(self, now: float) -> Step:
        return Step()

    def command(self, token: int, command: Command, now: float) -> Step:
        match command:
            case Prompt() | FollowUp() | Steer():
                return self._prompted(token, command)
            case Abort():
                self._queue.clear()
                lines = (_line("abort"),) if self._has_turn else ()
                return Step(lines=lines, answers=(Answer(token=token),))
            case InputResponse():
                return self._answered(token, command)
            case GetState():
                state = {"is_working": self._has_turn, "queued": len(self._queue)}
                return Step(answers=(Answer(token=token, data=state),))
        name = type(command).__struct_config__.tag
        return Step(answers=(Answer(token=token, error=AgentFailed(f"the echo agent cannot do {name}")),))

    def receive(self, line: bytes, now: float) -> Step:
        try:
            said = msgspec.json.decode(line, type=Said)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Step()
        return self._heard(said)

    def close(self, now: float, cause: str) -> Step:
        events: list[Event] = []
        if self._question:
            events.append(InputResolved(request_id=self._question, reason="gone"))
        if self._message:
            events.append(self._message_end("", stop_reason="error"))
        if self._tool:
            events.append(ToolEnd(tool_call_id=self._tool, name="wait", output=cause, is_error=True))
        if self._has_turn:
            events += [AgentError(error=cause, recoverable=False), AgentIdle(stop_reason="error")]
        self._has_turn, self._question, self._message, self._tool = False, "", "", ""
        return Step(events=tuple(events))

    def _prompted(self, token: int, command: Prompt | FollowUp | Steer) -> Step:
        answers = (Answer(token=token),)
        if self._has_turn:
            self._queue.append(command)
            return Step(events=(self._queue_changed(),), answers=answers)
        return self._turn(command, answers)

    def _turn(self, command: Prompt | FollowUp | Steer, answers: tuple[Answer, ...] = ()) -> Step:
        self._has_turn = True
        message = Message(
            id=new_id("msg"),
            role="user",
            parts=(TextPart(text=command.message),),
            created_at=clock.now_ms(),
            client_id=command.client_id or None,
        )
        line = _line("prompt", text=command.message)
        return Step(events=(MessageEnd(message=message), AgentWorking()), lines=(line,), answers=answers)

    def _answered(self, token: int, command: InputResponse) -> Step:
        if command.request_id != self._question:
            return Step(answers=(Answer(token=token, error=Invalid("this question is not open any more")),))
        self._question = ""
        said = "yes" if command.confirmed else "no"
        return Step(
            events=(InputResolved(request_id=command.request_id),),
            lines=(_line("answer", text=said),),
            answers=(Answer(token=token),),
        )

    def _heard(self, said: Said) -> Step:
        if said.type == "ready":
            self.is_ready = True
        if said.type == "idle":
            return self._idle()
        event = self._event(said)
        return Step(events=(event,) if event is not None else ())

    def _event(self, said: Said) -> Event | None:
        match said.type:
            case "begin":
                self._message = new_id("msg")
                return MessageStart(message_id=self._message)
            case "delta":
                return TextDelta(message_id=self._message, delta=said.text)
            case "end":
                return self._message_end(said.text, "aborted" if said.aborted else "stop")
            case "title":
                return TitleChanged(title=said.text)
            case "ask":
                self._question = new_id("ask")
                return InputNeeded(request=ConfirmRequest(request_id=self._question, title=said.title))
        return self._tool_event(said) if said.type in ("tool", "progress", "tool_end") else None

    def _tool_event(self, said: Said) -> Event:
        if said.type == "tool":
            self._tool = new_id("call")
            return ToolStart(tool_call_id=self._tool, name=said.name, input=said.input)
        if said.type == "progress":
            return ToolProgress(tool_call_id=self._tool, name="wait", partial_output=said.output)
        ended, self._tool = self._tool, ""
        return ToolEnd(tool_call_id=ended, name="wait", output=said.output, is_error=said.error)

    def _idle(self) -> Step:
        self._has_turn = False
        if not self._queue:
            return Step(events=(AgentIdle(stop_reason="stop"),))
        following = self._turn(self._queue.popleft())
        events = (AgentIdle(stop_reason="stop"), self._queue_changed(), *following.events)
        return msgspec.structs.replace(following, events=events)

    def _queue_changed(self) -> QueueChanged:
        return QueueChanged(follow_up=tuple(command.message for command in self._queue))

    def _message_end(self, text: str, stop_reason: Any) -> MessageEnd:
        ended, self._message = self._message, ""
        parts = (TextPart(text=text),) if text else ()
        return MessageEnd(
            message=Message(
                id=ended, role="assistant", parts=parts, created_at=clock.now_ms(), stop_reason=stop_reason
            )
        )


def _line(kind: str, **fields: str) -> bytes:
    return msgspec.json.encode({"type": kind, **fields})
