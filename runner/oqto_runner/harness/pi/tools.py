"""Tools that run: each start has one end, with the time it took."""

from __future__ import annotations

from typing import Any

import msgspec

from oqto_platform.canon import ToolEnd, ToolProgress, ToolStart
from oqto_runner.harness.pi.messages import tool_output
from oqto_runner.harness.pi.outbox import Outbox
from oqto_runner.harness.pi.values import items, record, text


class _Running(msgspec.Struct, frozen=True):
    name: str
    since: float


class Tools:
    """Keyed by tool call id."""

    def __init__(self, out: Outbox) -> None:
        self._out = out
        self._running: dict[str, _Running] = {}
        self._ended: set[str] = set()

    @property
    def latest(self) -> str:
        """Name of the tool that started last and still runs; empty when none does."""
        return next((one.name for one in reversed(self._running.values())), "")

    def start(self, event: dict[str, Any], now: float) -> None:
        call_id, name = text(event, "toolCallId"), text(event, "toolName")
        if call_id in self._running:
            return
        self._running[call_id] = _Running(name=name, since=now)
        self._ended.discard(call_id)
        self._out.say(ToolStart(tool_call_id=call_id, name=name, input=event.get("args")))

    def progress(self, event: dict[str, Any]) -> None:
        call_id, result = text(event, "toolCallId"), record(event, "partialResult")
        # The first update of pi's bash has no output yet.
        if call_id not in self._running or not items(result, "content"):
            return
        name = self._running[call_id].name
        self._out.say(ToolProgress(tool_call_id=call_id, name=name, partial_output=tool_output(result)))

    def end(self, event: dict[str, Any], result: dict[str, Any], now: float) -> None:
        """From `tool_execution_end`, or from the result message when that was lost."""
        call_id = text(event, "toolCallId")
        if call_id in self._ended:
            return
        if call_id not in self._running:
            self.start(event, now)
        self._finish(call_id, tool_output(result), now, is_error=event.get("isError") is True)

    def end_all(self, reason: str, now: float) -> None:
        """Nobody will tell how these ended."""
        output = {"content": [{"type": "text", "text": reason}]}
        for call_id in list(self._running):
            self._finish(call_id, output, now, is_error=True)

    def forget_ended(self) -> None:
        self._ended.clear()

    def _finish(self, call_id: str, output: dict[str, Any], now: float, *, is_error: bool) -> None:
        one = self._running.pop(call_id)
        self._ended.add(call_id)
        self._out.say(
            ToolEnd(
                tool_call_id=call_id,
                name=one.name,
                output=output,
                is_error=is_error,
                duration_ms=max(0, round((now - one.since) * 1000)),
            )
        )
