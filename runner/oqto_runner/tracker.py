"""What is still being written in a session: open messages, running tools, the turn."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from oqto_platform.canon import (
    PASSING,
    AgentIdle,
    AgentWorking,
    Event,
    MessageEnd,
    MessageStart,
    SessionClosed,
    ToolEnd,
    ToolProgress,
    ToolStart,
    decode_event,
    event_name,
)

_NAME = re.compile(rb'\{"event":"([a-z_.]+)"')
_KINDS: frozenset[type[Event]] = frozenset(
    (MessageStart, MessageEnd, ToolStart, ToolProgress, ToolEnd, AgentWorking, AgentIdle, SessionClosed)
)
_RELEVANT = frozenset(event_name(kind).encode() for kind in _KINDS)
_PASSING = frozenset(name.encode() for name in PASSING)


def name_of(line: bytes) -> bytes:
    """The event's kind; the log writes it first, so no parsing is needed."""
    found = _NAME.match(line)
    return found.group(1) if found else b""


def seq_of(line: bytes) -> int:
    """The event's number. It stands after anything that a person or an agent wrote, with only `ts` behind it."""
    _, mark, tail = line.rpartition(b',"seq":')
    return int(tail.partition(b",")[0]) if mark else 0


def is_durable(line: bytes) -> bool:
    return name_of(line) not in _PASSING


@dataclass
class Progress:
    """The latest output of a running tool and its place among the durable lines."""

    seq: int
    history_offset: int
    line: bytes


@dataclass
class Tracker:
    """Follows the log's events. `history_offset` is where the durable copy stood before the event."""

    messages: dict[str, tuple[int, int]] = field(default_factory=dict)
    progress: dict[str, Progress] = field(default_factory=dict)
    is_turn_open: bool = False
    is_closed: bool = True

    def boundary(self, last: int, history_size: int) -> tuple[int, int]:
        """Up to which event the durable copy tells everything, and where in it that is."""
        return min(self.messages.values(), default=(last, history_size))

    def note(self, event: Event, line: bytes, history_offset: int) -> None:
        self.is_closed = type(event) is SessionClosed
        if type(event) not in _KINDS:
            return
        match event:
            case MessageStart():
                self.messages[event.message_id] = (event.seq - 1, history_offset)
            case MessageEnd():
                self.messages.pop(event.message.id, None)
            case ToolProgress():
                self.progress[event.tool_call_id] = Progress(event.seq, history_offset, line)
            case ToolStart() | ToolEnd():
                self.progress.pop(event.tool_call_id, None)
            case AgentWorking():
                self.is_turn_open = True
            case AgentIdle() | SessionClosed():
                self.messages.clear()
                self.progress.clear()
                self.is_turn_open = False

    def note_line(self, line: bytes, history_offset: int) -> None:
        """The same from the log's own line, for reopening."""
        if name_of(line) in _RELEVANT:
            self.note(decode_event(line), line + b"\n", history_offset)
        else:
            self.is_closed = False
