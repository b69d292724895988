"""What an agent does, tagged by `event`. Every one carries the `seq` that its log gave it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from oqto_platform.canon.message import Message, StopCause

Phase = Literal["initializing", "generating", "thinking", "tool_running", "compacting", "retrying"]


class _Event(msgspec.Struct, kw_only=True, tag_field="event", omit_defaults=True):
    """`seq`, `ts` (ms) and the ids are filled in by the log that takes the event."""

    session_id: str = ""
    runner_id: str = ""
    seq: int = 0
    ts: int = 0


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What this harness can do, so that the UI offers nothing else."""

    prompt_images: bool = False
    steer: bool = False
    follow_up: bool = False
    abort: bool = True
    compact: bool = False
    fork: bool = False
    set_model: bool = False
    thinking: bool = False
    resume: bool = False
    commands: bool = False
    conversations: bool = False
    input_request_kinds: tuple[str, ...] = ()


class SessionCreated(_Event, tag="session.created"):
    """A process for this session answers. `confined_by` and `sandbox` say how it is held."""

    harness: str
    resumed: bool = False
    provider: str = ""
    model: str = ""
    confined_by: str = ""
    profile: str = ""
    network: str = ""
    sandbox: str = ""
    capabilities: Capabilities = Capabilities()


class SessionClosed(_Event, tag="session.closed"):
    """The process is gone. `detail` says why, in a sentence."""

    reason: str
    detail: str = ""
    exit_code: int | None = None
    stderr_tail: str = ""


class TitleChanged(_Event, tag="session.title_changed"):
    title: str


class AgentWorking(_Event, tag="agent.working"):
    phase: Phase = "generating"
    detail: str = ""


class AgentIdle(_Event, tag="agent.idle"):
    """The turn has ended and everything of it is on disk."""

    stop_reason: StopCause | None = None


class AgentError(_Event, tag="agent.error"):
    """
    What went wrong, in words. Not `recoverable`: the session is over.

    `code` is stable: a `ModelFailure` when the model gave no answer, `disk-full`, or one of the harness's own.
    """

    error: str
    recoverable: bool = True
    code: str = ""


class SelectRequest(
    msgspec.Struct, frozen=True, kw_only=True, tag="select", tag_field="type", omit_defaults=True
):
    request_id: str
    title: str
    options: tuple[str, ...]
    timeout_ms: int | None = None


class ConfirmRequest(
    msgspec.Struct, frozen=True, kw_only=True, tag="confirm", tag_field="type", omit_defaults=True
):
    request_id: str
    title: str
    message: str = ""
    timeout_ms: int | None = None


class TextRequest(
    msgspec.Struct, frozen=True, kw_only=True, tag="input", tag_field="type", omit_defaults=True
):
    request_id: str
    title: str
    placeholder: str = ""
    timeout_ms: int | None = None


class EditorRequest(
    msgspec.Struct, frozen=True, kw_only=True, tag="editor", tag_field="type", omit_defaults=True
):
    request_id: str
    title: str
    prefill: str = ""
    timeout_ms: int | None = None


InputRequest = SelectRequest | ConfirmRequest | TextRequest | EditorRequest


class InputNeeded(_Event, tag="agent.input_needed"):
    request: InputRequest


class InputResolved(_Event, tag="agent.input_resolved"):
    """Answered, cancelled or out of time: every tab closes its dialog."""

    request_id: str
    reason: Literal["answered", "cancelled", "timeout", "gone"] = "answered"


class MessageStart(_Event, tag="stream.message_start"):
    message_id: str
    role: Literal["user", "assistant", "system", "tool"] = "assistant"


class TextDelta(_Event, tag="stream.text_delta"):
    message_id: str
    delta: str
    content_index: int = 0


class ThinkingDelta(_Event, tag="stream.thinking_delta"):
    message_id: str
    delta: str
    content_index: int = 0


class ToolCallStart(_Event, tag="stream.tool_call_start"):
    message_id: str
    tool_call_id: str
    name: str
    content_index: int = 0


class ToolCallDelta(_Event, tag="stream.tool_call_delta"):
    message_id: str
    tool_call_id: str
    delta: str
    content_index: int = 0


class ToolCallEnd(_Event, tag="stream.tool_call_end"):
    message_id: str
    tool_call_id: str
    name: str
    input: Any = None
    content_index: int = 0


class MessageEnd(_Event, tag="stream.message_end"):
    """The whole message; it replaces what was streamed. User messages arrive only in this form."""

    message: Message


class ToolStart(_Event, tag="tool.start"):
    tool_call_id: str
    name: str
    input: Any = None


class ToolProgress(_Event, tag="tool.progress"):
    """Output so far; each one replaces the one before."""

    tool_call_id: str
    name: str
    partial_output: Any = None


class ToolEnd(_Event, tag="tool.end"):
    tool_call_id: str
    name: str
    output: Any = None
    is_error: bool = False
    duration_ms: int | None = None


class RetryStart(_Event, tag="retry.start"):
    attempt: int
    max_attempts: int
    delay_ms: int
    error: str = ""


class RetryEnd(_Event, tag="retry.end"):
    success: bool
    attempt: int = 0
    final_error: str = ""


class CompactStart(_Event, tag="compact.start"):
    reason: str = ""


class CompactEnd(_Event, tag="compact.end"):
    success: bool
    will_retry: bool = False
    error: str = ""
    summary: str = ""
    tokens_before: int | None = None


class QueueChanged(_Event, tag="queue.changed"):
    """Messages that wait inside the agent."""

    steering: tuple[str, ...] = ()
    follow_up: tuple[str, ...] = ()


class ModelChanged(_Event, tag="config.model_changed"):
    provider: str
    model_id: str


class ThinkingLevelChanged(_Event, tag="config.thinking_level_changed"):
    level: str


class ConversationChanged(_Event, tag="session.conversation_changed"):
    """The process now holds another conversation (new, switched or forked); `messages` is what it shows."""

    cause: Literal["new", "switch", "fork"]
    messages: tuple[Message, ...] = ()


class AccessDenied(_Event, tag="access.denied"):
    """
    Confinement kept the agent from something, or ended something. `sentence` tells people all of it.

    `target` is a path, a `host:port`, a limit or the names of processes. `rule` is the entry of the policy that
    decided, `key` its key there, `stated` the `file:line` places or the profile that state it.
    """

    kind: Literal["path", "network", "limit", "process"]
    target: str
    sentence: str
    rule: str = ""
    key: str = ""
    stated: str = ""
    tool_call_id: str = ""


class Notify(_Event, tag="notify"):
    level: Literal["info", "warning", "error"] = "info"
    message: str = ""


class Status(_Event, tag="status"):
    """A line of status by key; no text clears it."""

    key: str
    text: str | None = None


class ResyncRequired(_Event, tag="stream.resync_required"):
    """What was asked for is not in the log any more: forget what is shown, it is told again from the start."""

    oldest: int
    reason: str = ""


Event = (
    SessionCreated
    | SessionClosed
    | TitleChanged
    | AgentWorking
    | AgentIdle
    | AgentError
    | InputNeeded
    | InputResolved
    | MessageStart
    | TextDelta
    | ThinkingDelta
    | ToolCallStart
    | ToolCallDelta
    | ToolCallEnd
    | MessageEnd
    | ToolStart
    | ToolProgress
    | ToolEnd
    | RetryStart
    | RetryEnd
    | CompactStart
    | CompactEnd
    | QueueChanged
    | ModelChanged
    | ThinkingLevelChanged
    | ConversationChanged
    | AccessDenied
    | Notify
    | Status
    | ResyncRequired
)

PASSING: frozenset[str] = frozenset(
    {"stream.text_delta", "stream.thinking_delta", "stream.tool_call_delta", "tool.progress"}
)
"""Events that a later one replaces (`stream.message_end`, `tool.end`). A snapshot leaves them out."""
