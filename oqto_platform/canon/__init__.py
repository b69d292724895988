"""
The canonical protocol: what browser, core and runner say to each other about a session.

Commands are tagged by `cmd`, events by `event`; names are `noun.verb`. Unknown fields are ignored (a
newer peer), unknown kinds are refused. Every event of a session carries `seq`, given by the runner's log:
1, 2, 3 … without a hole, on disk before anyone sees it.

A turn begins with `agent.working` and ends with exactly one `agent.idle`; an `agent.error` may stand
before it. When the process itself is gone the log ends with `session.closed`.
"""

from __future__ import annotations

from typing import get_args

import msgspec

from oqto_platform.canon.command import (
    Abort,
    AbortRetry,
    Command,
    Compact,
    CycleModel,
    CycleThinkingLevel,
    FollowUp,
    Fork,
    GetCommands,
    GetConversations,
    GetForkPoints,
    GetMessages,
    GetModels,
    GetState,
    GetStats,
    Image,
    InputResponse,
    NewSession,
    Prompt,
    SetAutoCompaction,
    SetAutoRetry,
    SetModel,
    SetSessionName,
    SetThinkingLevel,
    Steer,
    SwitchSession,
)
from oqto_platform.canon.event import (
    PASSING,
    AccessDenied,
    AgentError,
    AgentIdle,
    AgentWorking,
    Capabilities,
    CompactEnd,
    CompactStart,
    ConfirmRequest,
    ConversationChanged,
    EditorRequest,
    Event,
    InputNeeded,
    InputRequest,
    InputResolved,
    MessageEnd,
    MessageStart,
    ModelChanged,
    Notify,
    Phase,
    QueueChanged,
    ResyncRequired,
    RetryEnd,
    RetryStart,
    SelectRequest,
    SessionClosed,
    SessionCreated,
    Status,
    TextDelta,
    TextRequest,
    ThinkingDelta,
    ThinkingLevelChanged,
    TitleChanged,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
    ToolEnd,
    ToolProgress,
    ToolStart,
)
from oqto_platform.canon.failure import MODEL_FAILURES, ModelFailure
from oqto_platform.canon.message import (
    ExtensionPart,
    ImagePart,
    Message,
    MessageUsage,
    Part,
    StopCause,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolStatus,
)

__all__ = [
    "MODEL_FAILURES",
    "PASSING",
    "PASSING_KINDS",
    "Abort",
    "AbortRetry",
    "AccessDenied",
    "AgentError",
    "AgentIdle",
    "AgentWorking",
    "Capabilities",
    "Command",
    "Compact",
    "CompactEnd",
    "CompactStart",
    "ConfirmRequest",
    "ConversationChanged",
    "CycleModel",
    "CycleThinkingLevel",
    "EditorRequest",
    "Event",
    "ExtensionPart",
    "FollowUp",
    "Fork",
    "GetCommands",
    "GetConversations",
    "GetForkPoints",
    "GetMessages",
    "GetModels",
    "GetState",
    "GetStats",
    "Image",
    "ImagePart",
    "InputNeeded",
    "InputRequest",
    "InputResolved",
    "InputResponse",
    "Message",
    "MessageEnd",
    "MessageStart",
    "MessageUsage",
    "ModelChanged",
    "ModelFailure",
    "NewSession",
    "Notify",
    "Part",
    "Phase",
    "Prompt",
    "QueueChanged",
    "ResyncRequired",
    "RetryEnd",
    "RetryStart",
    "SelectRequest",
    "SessionClosed",
    "SessionCreated",
    "SetAutoCompaction",
    "SetAutoRetry",
    "SetModel",
    "SetSessionName",
    "SetThinkingLevel",
    "Status",
    "Steer",
    "StopCause",
    "SwitchSession",
    "TextDelta",
    "TextPart",
    "TextRequest",
    "ThinkingDelta",
    "ThinkingLevelChanged",
    "ThinkingPart",
    "TitleChanged",
    "ToolCallDelta",
    "ToolCallEnd",
    "ToolCallPart",
    "ToolCallStart",
    "ToolEnd",
    "ToolProgress",
    "ToolResultPart",
    "ToolStart",
    "ToolStatus",
    "decode_command",
    "decode_event",
    "encode",
    "event_name",
]

encode = msgspec.json.Encoder().encode
decode_event = msgspec.json.Decoder(Event).decode
decode_command = msgspec.json.Decoder(Command).decode


def event_name(kind: type[Event]) -> str:
    """`TextDelta` → `stream.text_delta`."""
    return str(kind.__struct_config__.tag)


PASSING_KINDS = frozenset(kind for kind in get_args(Event) if event_name(kind) in PASSING)
"""The classes of `PASSING`."""
