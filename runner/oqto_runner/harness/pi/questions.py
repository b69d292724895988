"""Dialogs of pi's extensions, and what else they show.

Pi waits for ever where a dialog has no time limit of its own (`editor` never has one), so each gets
`LIMIT_S`. A dialog with a limit ends inside pi without a word; ours then ends a moment later.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from oqto_platform.canon import (
    ConfirmRequest,
    EditorRequest,
    InputNeeded,
    InputRequest,
    InputResolved,
    InputResponse,
    Notify,
    SelectRequest,
    Status,
    TextRequest,
)
from oqto_platform.errors import Invalid, NotFound
from oqto_runner.harness.pi.outbox import Outbox
from oqto_runner.harness.pi.values import fraction, text, texts

LIMIT_S = 600.0
GRACE_S = 0.25
LEVELS: dict[str, Literal["info", "warning", "error"]] = {"warning": "warning", "error": "error"}
DIALOGS = frozenset({"select", "confirm", "input", "editor"})


class _Open(msgspec.Struct, frozen=True, kw_only=True):
    request: InputRequest
    deadline: float
    in_run: bool


class Questions:
    """Open dialogs by their id."""

    def __init__(self, out: Outbox) -> None:
        self._out = out
        self._open: dict[str, _Open] = {}

    @property
    def are_open(self) -> bool:
        return bool(self._open)

    def ask(self, event: dict[str, Any], now: float, *, in_run: bool) -> bool:
        """An `extension_ui_request`; `True` when it is a dialog that a person has to answer."""
        method, request_id = text(event, "method"), text(event, "id")
        if method not in DIALOGS or not request_id:
            self._show(method, event)
            return False
        own_ms = fraction(event, "timeout")
        limit_s = own_ms / 1000 + GRACE_S if own_ms and own_ms > 0 else LIMIT_S
        request = _request(method, request_id, event, int(own_ms or LIMIT_S * 1000))
        self._open[request_id] = _Open(request=request, deadline=now + limit_s, in_run=in_run)
        self._out.say(InputNeeded(request=request))
        return True

    def respond(self, response: InputResponse) -> None:
        """Pass a person's answer on. Raises `NotFound`, `Invalid`."""
        asked = self._open.get(response.request_id)
        if asked is None:
            raise NotFound(f"request_id: the question {response.request_id} is not open (any more)")
        answer: dict[str, Any] = (
            {"cancelled": True} if response.cancelled else _answer(asked.request, response)
        )
        self._resolve(response.request_id, "cancelled" if response.cancelled else "answered", answer)

    def expire(self, now: float) -> None:
        for request_id in [key for key, one in self._open.items() if one.deadline <= now]:
            self._resolve(request_id, "timeout", {"cancelled": True})

    def cancel_all(self) -> None:
        """The person ends the turn: what waits for an answer gets none."""
        for request_id in list(self._open):
            self._resolve(request_id, "cancelled", {"cancelled": True})

    def drop_of_run(self) -> None:
        """The run is over, so its dialogs are gone; pi drops those of an aborted run without a word."""
        for request_id in [key for key, one in self._open.items() if one.in_run]:
            self._resolve(request_id, "gone", {"cancelled": True})

    def drop_all(self) -> None:
        """Pi itself is gone."""
        for request_id in list(self._open):
            del self._open[request_id]
            self._out.say(InputResolved(request_id=request_id, reason="gone"))

    def _resolve(
        self,
        request_id: str,
        reason: Literal["answered", "cancelled", "timeout", "gone"],
        answer: dict[str, Any],
    ) -> None:
        del self._open[request_id]
        self._out.say(InputResolved(request_id=request_id, reason=reason))
        self._out.write({"type": "extension_ui_response", "id": request_id, **answer})

    def _show(self, method: str, event: dict[str, Any]) -> None:
        match method:
            case "notify":
                level = LEVELS.get(text(event, "notifyType"), "info")
                self._out.say(Notify(level=level, message=text(event, "message")))
            case "setStatus":
                self._out.say(
                    Status(key=text(event, "statusKey", "status"), text=text(event, "statusText") or None)
                )
            case "setWidget":
                lines = "\n".join(texts(event, "widgetLines"))
                self._out.say(Status(key=f"widget:{text(event, 'widgetKey')}", text=lines or None))
            case "setTitle":
                self._out.say(Status(key="window-title", text=text(event, "title") or None))
            case "set_editor_text":
                self._out.say(Status(key="editor-text", text=text(event, "text") or None))
            case _:
                kept = msgspec.json.encode(event).decode()
                self._out.say(Status(key=f"x-harness:{method or 'ui'}", text=kept))


def _request(method: str, request_id: str, event: dict[str, Any], timeout_ms: int) -> InputRequest:
    title = text(event, "title")
    if method == "select":
        options = texts(event, "options")
        return SelectRequest(request_id=request_id, title=title, options=options, timeout_ms=timeout_ms)
    if method == "confirm":
        message = text(event, "message")
        return ConfirmRequest(request_id=request_id, title=title, message=message, timeout_ms=timeout_ms)
    if method == "input":
        hint = text(event, "placeholder")
        return TextRequest(request_id=request_id, title=title, placeholder=hint, timeout_ms=timeout_ms)
    prefill = text(event, "prefill")
    return EditorRequest(request_id=request_id, title=title, prefill=prefill, timeout_ms=timeout_ms)


def _answer(request: InputRequest, response: InputResponse) -> dict[str, Any]:
    if isinstance(request, ConfirmRequest):
        if response.confirmed is None:
            raise Invalid("confirmed: say true or false, or cancel")
        return {"confirmed": response.confirmed}
    if response.value is None:
        raise Invalid("value: give an answer, or cancel")
    if isinstance(request, SelectRequest) and response.value not in request.options:
        raise Invalid(f"value: choose one of {', '.join(request.options)}")
    return {"value": response.value}
