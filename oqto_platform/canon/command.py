"""What a person may ask of an agent, tagged by `cmd`."""

from __future__ import annotations

from typing import Literal

import msgspec


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image of a prompt; `data` is base64."""

    data: str
    media_type: str


class _Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="cmd", omit_defaults=True):
    pass


class Prompt(_Command, frozen=True, tag="prompt"):
    """A message for the agent. While it works this steers it. A repeated `client_id` has no second effect."""

    message: str
    images: tuple[Image, ...] = ()
    client_id: str = ""


class Steer(_Command, frozen=True, tag="steer"):
    """Guidance that the agent reads after its current step."""

    message: str
    images: tuple[Image, ...] = ()
    client_id: str = ""


class FollowUp(_Command, frozen=True, tag="follow_up"):
    """A message for after this turn."""

    message: str
    images: tuple[Image, ...] = ()
    client_id: str = ""


class Abort(_Command, frozen=True, tag="abort"):
    """End the current turn now, queued messages included. Overtakes everything."""


class AbortRetry(_Command, frozen=True, tag="abort_retry"):
    """Stop waiting for the next automatic try."""


class InputResponse(_Command, frozen=True, tag="input_response"):
    """The answer to `agent.input_needed`."""

    request_id: str
    value: str | None = None
    confirmed: bool | None = None
    cancelled: bool = False


class GetState(_Command, frozen=True, tag="get_state"):
    pass


class GetMessages(_Command, frozen=True, tag="get_messages"):
    pass


class GetStats(_Command, frozen=True, tag="get_stats"):
    pass


class GetModels(_Command, frozen=True, tag="get_models"):
    pass


class GetCommands(_Command, frozen=True, tag="get_commands"):
    pass


class GetForkPoints(_Command, frozen=True, tag="get_fork_points"):
    pass


class GetConversations(_Command, frozen=True, tag="get_conversations"):
    """What `session.switch` may switch to, the last used first."""


class SetModel(_Command, frozen=True, tag="set_model"):
    provider: str
    model_id: str


class CycleModel(_Command, frozen=True, tag="cycle_model"):
    pass


class SetThinkingLevel(_Command, frozen=True, tag="set_thinking_level"):
    level: Literal["off", "minimal", "low", "medium", "high", "xhigh"]


class CycleThinkingLevel(_Command, frozen=True, tag="cycle_thinking_level"):
    pass


class SetAutoCompaction(_Command, frozen=True, tag="set_auto_compaction"):
    enabled: bool


class SetAutoRetry(_Command, frozen=True, tag="set_auto_retry"):
    enabled: bool


class Compact(_Command, frozen=True, tag="compact"):
    instructions: str = ""


class SetSessionName(_Command, frozen=True, tag="set_session_name"):
    name: str


class NewSession(_Command, frozen=True, tag="session.new"):
    """A fresh conversation in the same process."""


class SwitchSession(_Command, frozen=True, tag="session.switch"):
    """Continue the conversation in this file of the harness; it must exist and belong to this workspace."""

    session_path: str


class Fork(_Command, frozen=True, tag="fork"):
    """Go back to just before the user message `entry_id` and continue from there."""

    entry_id: str


Command = (
    Prompt
    | Steer
    | FollowUp
    | Abort
    | AbortRetry
    | InputResponse
    | GetState
    | GetMessages
    | GetStats
    | GetModels
    | GetCommands
    | GetForkPoints
    | GetConversations
    | SetModel
    | CycleModel
    | SetThinkingLevel
    | CycleThinkingLevel
    | SetAutoCompaction
    | SetAutoRetry
    | Compact
    | SetSessionName
    | NewSession
    | SwitchSession
    | Fork
)
