"""Pi's events as canonical ones (spec of the wire: pi's docs `json.md` and `rpc-extension-ui.md`).

Left out on purpose: `turn_start`, `turn_end`, `entry_appended` and `bash_execution_update` repeat what
other events tell, and pi's own system prompt is no part of the conversation. A kind that is not known is
kept whole as a `Status`, the first `MAX_UNKNOWN` times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from oqto_platform.canon import (
    CompactEnd,
    CompactStart,
    MessageEnd,
    Notify,
    Phase,
    RetryEnd,
    RetryStart,
    Status,
)
from oqto_runner.harness.pi.echoes import Sent
from oqto_runner.harness.pi.failures import explain
from oqto_runner.harness.pi.messages import canonical, user_text
from oqto_runner.harness.pi.talk import Talk
from oqto_runner.harness.pi.values import record, text, texts, whole

IGNORED = frozenset(
    {"turn_start", "turn_end", "entry_appended", "bash_execution_update", "summarization_retry_attempt_start"}
)
MAX_UNKNOWN = 100
MAX_KEPT = 4_000
PHASES: dict[str, Phase] = {"text": "generating", "thinking": "thinking", "toolcall": "generating"}


class Translator:
    """Everything on pi's stdout but responses."""

    def __init__(self, talk: Talk, on_busy: Callable[[], None]) -> None:
        self._talk = talk
        self._on_busy = on_busy
        self._unknown = 0
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "agent_start": self._agent_start,
            "agent_end": self._agent_end,
            "agent_settled": self._agent_settled,
            "message_start": self._message_start,
            "message_update": self._message_update,
            "message_end": self._message_end,
            "tool_execution_start": self._tool_start,
            "tool_execution_update": self._tool_update,
            "tool_execution_end": self._tool_end,
            "queue_update": self._queue_update,
            "compaction_start": self._compaction_start,
            "compaction_end": self._compaction_end,
            "auto_compaction_start": self._compaction_start,
            "auto_compaction_end": self._compaction_end,
            "auto_retry_start": self._retry_start,
            "auto_retry_end": self._retry_end,
            "summarization_retry_scheduled": self._summary_retry,
            "summarization_retry_finished": self._summary_retried,
            "session_info_changed": self._session_info,
            "thinking_level_changed": self._thinking_level,
            "extension_ui_request": self._extension_ui,
            "extension_error": self._extension_error,
        }

    def translate(self, event: dict[str, Any]) -> None:
        """Tell what `event` means."""
        kind = text(event, "type")
        if kind in IGNORED:
            return
        self._handlers.get(kind, self._keep)(event)

    def _agent_start(self, event: dict[str, Any]) -> None:
        if self._talk.turn.is_over:
            self._talk.settle()
        self._talk.turn.run_started(self._talk.now)
        self._talk.echoes.run_started()
        self._on_busy()

    def _agent_end(self, event: dict[str, Any]) -> None:
        self._talk.stream.break_off()
        self._talk.turn.run_ended(tells_settled="willRetry" in event, now=self._talk.now)

    def _agent_settled(self, event: dict[str, Any]) -> None:
        self._talk.turn.tells_settled()
        self._talk.settle()

    def _message_start(self, event: dict[str, Any]) -> None:
        message = record(event, "message")
        if message.get("role") == "assistant":
            self._busy("generating")
            self._talk.stream.start(whole(message, "timestamp"))

    def _message_update(self, event: dict[str, Any]) -> None:
        kind = self._talk.stream.update(record(event, "assistantMessageEvent"))
        if kind is not None:
            self._busy(PHASES[kind])

    def _message_end(self, event: dict[str, Any]) -> None:
        message = record(event, "message")
        match message.get("role"):
            case "assistant":
                self._assistant_end(message)
            case "user":
                self._user_end(message)
            case "toolResult":
                self._talk.tools.end(message, message, self._talk.now)
            case "system":
                pass
            case _:
                self._talk.out.say(MessageEnd(message=canonical(message, self._talk.mint())))

    def _assistant_end(self, message: dict[str, Any]) -> None:
        turn = self._talk.turn
        self._busy("generating")
        complete = self._talk.stream.end(message, aborting=turn.is_aborted)
        turn.message_ended(complete.stop_reason, text(message, "errorMessage") or "the model gave no answer")

    def _user_end(self, message: dict[str, Any]) -> None:
        words = user_text(message)
        sent, is_same = self._talk.echoes.told(words)
        if sent is None:
            self._talk.out.say(MessageEnd(message=canonical(message, self._talk.mint())))
        elif not is_same:
            self._talk.out.say(MessageEnd(message=_changed(sent, message)))

    def _tool_start(self, event: dict[str, Any]) -> None:
        self._talk.tools.start(event, self._talk.now)
        self._show_tools()

    def _tool_update(self, event: dict[str, Any]) -> None:
        self._talk.tools.progress(event)

    def _tool_end(self, event: dict[str, Any]) -> None:
        self._talk.tools.end(event, record(event, "result"), self._talk.now)
        self._show_tools()

    def _show_tools(self) -> None:
        latest = self._talk.tools.latest
        self._busy("tool_running" if latest else "generating", latest)

    def _queue_update(self, event: dict[str, Any]) -> None:
        facts, echoes = self._talk.facts, self._talk.echoes
        steering, follow_up = texts(event, "steering"), texts(event, "followUp")
        echoes.queued(facts.steering, steering)
        echoes.queued(facts.follow_up, follow_up)
        facts.queues_are(steering, follow_up)

    def _compaction_start(self, event: dict[str, Any]) -> None:
        if self._talk.turn.is_over and text(event, "reason") == "manual":
            self._talk.settle()
        self._talk.turn.compaction_started(self._talk.now)
        self._talk.out.say(CompactStart(reason=text(event, "reason")))
        self._on_busy()

    def _compaction_end(self, event: dict[str, Any]) -> None:
        result, error = record(event, "result"), text(event, "errorMessage")
        is_aborted, goes_on = event.get("aborted") is True, event.get("willRetry") is True
        self._talk.out.say(
            CompactEnd(
                success=bool(result) and not is_aborted and not error,
                will_retry=goes_on,
                error=error or ("aborted" if is_aborted else ""),
                summary=text(result, "summary"),
                tokens_before=whole(result, "tokensBefore") if "tokensBefore" in result else None,
            )
        )
        self._talk.turn.compaction_ended(goes_on=goes_on, now=self._talk.now)
        if text(event, "reason") == "manual" and self._talk.turn.is_over:
            self._talk.settle()

    def _retry_start(self, event: dict[str, Any]) -> None:
        self._talk.turn.retry_started(self._talk.now)
        self._talk.out.say(
            RetryStart(
                attempt=whole(event, "attempt", 1),
                max_attempts=whole(event, "maxAttempts", 1),
                delay_ms=whole(event, "delayMs"),
                error=explain(text(event, "errorMessage")).words,
            )
        )

    def _retry_end(self, event: dict[str, Any]) -> None:
        success, error = event.get("success") is True, text(event, "finalError")
        words = "" if success else explain(error).words
        self._talk.out.say(RetryEnd(success=success, attempt=whole(event, "attempt"), final_error=words))
        self._talk.turn.retry_ended(success=success, error=error, now=self._talk.now)

    def _summary_retry(self, event: dict[str, Any]) -> None:
        tries = f"{whole(event, 'attempt', 1)} of {whole(event, 'maxAttempts', 1)}"
        words = f"the summary failed, attempt {tries} follows: {text(event, 'errorMessage')}"
        self._talk.out.say(Status(key="summary-retry", text=words))

    def _summary_retried(self, event: dict[str, Any]) -> None:
        self._talk.out.say(Status(key="summary-retry"))

    def _session_info(self, event: dict[str, Any]) -> None:
        self._talk.facts.title_is(text(event, "name"))

    def _thinking_level(self, event: dict[str, Any]) -> None:
        self._talk.facts.thinking_is(text(event, "level"))

    def _extension_ui(self, event: dict[str, Any]) -> None:
        if self._talk.questions.ask(event, self._talk.now, in_run=self._talk.turn.is_running):
            self._on_busy()

    def _extension_error(self, event: dict[str, Any]) -> None:
        source, what = text(event, "extensionPath", "an extension"), text(event, "error", "unknown error")
        during = text(event, "event")
        words = f"{source} failed" + (f" in {during}" if during else "") + f": {what}"
        self._talk.out.say(Notify(level="warning", message=words))

    def _keep(self, event: dict[str, Any]) -> None:
        self._unknown += 1
        if self._unknown <= MAX_UNKNOWN:
            kept = msgspec.json.encode(event).decode()[:MAX_KEPT]
            self._talk.out.say(Status(key=f"x-harness:{text(event, 'type')[:80]}", text=kept))

    def _busy(self, phase: Phase, detail: str = "") -> None:
        """Show the phase; opens a turn whose start was lost."""
        turn = self._talk.turn
        if not turn.is_running:
            turn.run_started(self._talk.now)
        turn.show(phase, detail)


def _changed(sent: Sent, told: dict[str, Any]) -> Any:
    """The sent message with the words that the agent reads."""
    read = canonical(told, sent.message.id)
    return msgspec.structs.replace(
        read, client_id=sent.message.client_id, metadata={**read.metadata, "typed": sent.typed}
    )
