"""Every error becomes one shape at the edge: RFC 9457 with our code. Nothing else leaks."""

from __future__ import annotations

from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import Scope

from oqto_platform.errors import (
    Conflict,
    Forbidden,
    Internal,
    Invalid,
    LimitReached,
    Malformed,
    MethodNotAllowed,
    NotFound,
    NotSignedIn,
    OqtoError,
    Problem,
    TooLarge,
)

log = structlog.get_logger("oqto.http")

BY_STATUS: dict[int, type[OqtoError]] = {
    400: Malformed,
    401: NotSignedIn,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    413: TooLarge,
    422: Invalid,
    429: LimitReached,
}

Asked = Request[Any, Any, Any]


def oqto_error(request: Asked, exc: OqtoError) -> Response[Problem]:
    """Ours: the sentence is for people."""
    if exc.status >= 500:  # noqa: PLR2004
        log.warning("request failed", path=request.url.path, code=exc.code, detail=exc.detail)
    return _response(request, exc)


def http_error(request: Asked, exc: HTTPException) -> Response[Problem]:
    """Litestar's: its sentence with our code."""
    if isinstance(exc, ValidationException):
        return _response(request, Invalid(_fields(exc)))
    kind = BY_STATUS.get(exc.status_code, Malformed if exc.status_code < 500 else Internal)  # noqa: PLR2004
    return _response(request, kind(exc.detail if kind is not Internal else _SORRY))


def too_deep(request: Asked, exc: RecursionError) -> Response[Problem]:
    """The JSON decoder's word for brackets without end."""
    log.warning("request is nested too deeply", path=request.url.path)
    return _response(request, Malformed("the body is nested too deeply"))


def unexpected(request: Asked, exc: Exception) -> Response[Problem]:
    """Anything else: the log has the cause under the same id."""
    log.error("request broke", path=request.url.path, exc_info=exc)
    return _response(request, Internal(_SORRY))


async def note(exc: Exception, scope: Scope) -> None:
    """A WebSocket has no error body: what broke one is at least in the log."""
    if "method" not in scope and not isinstance(exc, OqtoError | HTTPException):
        log.error("websocket broke", path=scope["path"], exc_info=exc)


_SORRY = "something broke in the server; the log has the cause under this id"

HANDLERS: dict[Any, Any] = {
    OqtoError: oqto_error,
    HTTPException: http_error,
    RecursionError: too_deep,
    Exception: unexpected,
}


def _response(request: Asked, exc: OqtoError) -> Response[Problem]:
    instance = request.scope["state"].get("request_id", "")
    headers = {"retry-after": str(exc.extra["retry_after_s"])} if "retry_after_s" in exc.extra else {}
    return Response(
        exc.to_problem(instance),
        status_code=exc.status,
        media_type="application/problem+json",
        headers=headers,
    )


def _fields(exc: ValidationException) -> str:
    if not isinstance(exc.extra, list) or not exc.extra:
        return exc.detail
    return "; ".join(_field(item.get("key", "body"), item.get("message", "")) for item in exc.extra)


def _field(key: str, message: str) -> str:
    is_missing = (key, message) == ("data", "'data'")  # Litestar's words for a request without a body
    return "the request has no body" if is_missing else f"{key}: {message}"
