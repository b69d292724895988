"""Which commands of the mux are actions, and what the audit log says of them."""

from __future__ import annotations

from oqto_platform.audit.events import Action, QuestionAnswered, SessionCommanded
from oqto_platform.canon import Command, InputResponse
from oqto_platform.canon import command as commands

LOOKS = (
    commands.GetState,
    commands.GetMessages,
    commands.GetStats,
    commands.GetModels,
    commands.GetCommands,
    commands.GetForkPoints,
    commands.GetConversations,
)
"""These change nothing."""


def record_of(session_id: str, command: Command) -> Action | None:
    """The record of a command that was carried out; never the words that were said."""
    if isinstance(command, LOOKS):
        return None
    if isinstance(command, InputResponse):
        return QuestionAnswered(session=session_id, question=command.request_id, answer=_answer(command))
    return SessionCommanded(session=session_id, command=str(command.__struct_config__.tag))


def _answer(response: InputResponse) -> str:
    if response.cancelled:
        return "cancelled"
    if response.confirmed is None:
        return "answered"
    return "approved" if response.confirmed else "declined"
