"""When a session was last used. An open browser tab is no use; a turn, a question and a queue are."""

from __future__ import annotations

from oqto_platform import clock
from oqto_platform.canon import (
    AgentIdle,
    Command,
    Event,
    GetCommands,
    GetConversations,
    GetForkPoints,
    GetMessages,
    GetModels,
    GetState,
    GetStats,
    InputNeeded,
    InputResolved,
    QueueChanged,
    SessionClosed,
)

# A tab asks these by itself when it reconnects; counting them would keep a forgotten tab's agent alive.
_QUESTIONS = (GetCommands, GetConversations, GetForkPoints, GetMessages, GetModels, GetState, GetStats)


class Activity:
    """The idle clock of one session."""

    def __init__(self) -> None:
        self._last = clock.monotonic()
        self._has_queue = False
        self._questions: set[str] = set()

    @property
    def has_question(self) -> bool:
        """The agent waits for the person's answer."""
        return bool(self._questions)

    def touch(self) -> None:
        """Somebody used the session just now."""
        self._last = clock.monotonic()

    def note_command(self, command: Command) -> None:
        if not isinstance(command, _QUESTIONS):
            self.touch()

    def note_event(self, event: Event) -> None:
        """Follow the queue and the questions, and begin to count when a turn ends."""
        match event:
            case QueueChanged():
                self._has_queue = bool(event.steering or event.follow_up)
            case InputNeeded():
                self._questions.add(event.request.request_id)
            case InputResolved():
                self._questions.discard(event.request_id)
            case AgentIdle() | SessionClosed():
                self._questions.clear()
                self.touch()

    def idle_s(self, *, is_working: bool) -> float:
        """Seconds without activity; 0 while a turn runs, a question is open or a message waits."""
        if is_working or self._has_queue:
            self.touch()
            return 0.0
        return clock.monotonic() - self._last
