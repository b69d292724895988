"""
Who is behind a request, and which requests are let in at all.

`Gate` runs before routing: our own origin and host only, security headers on every reply, a request id.
`signed_in` is the guard of every route; a route opens itself with `opt={"public": True}` and closes itself
to all but admins with `opt={"admin": True}`.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import structlog
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from oqto_platform import tracing
from oqto_platform.audit import acting
from oqto_platform.audit.events import AccessRefused
from oqto_platform.errors import Forbidden, NotSignedIn, OqtoError, TooLarge
from oqto_platform.logs import is_shown
from oqto_platform.metrics.counts import counts
from oqto_platform.types import AccountId, Identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar.types import ASGIApp, Message, Receive, Scope, Send

    from oqto_platform.audit import AuditLog
    from oqto_platform.auth.tokens import Tokens

log = structlog.get_logger("oqto.http")

COOKIE = "oqto"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
METHODS = SAFE_METHODS | {"POST", "PUT", "PATCH", "DELETE"}
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
LOOPBACK_ADDRESSES = ("127.", "::1", "::ffff:127.")
ADMIN_SOCKET = Identity(
    account_id=AccountId("admin-socket"), name="admin-socket", role="admin", door="admin-socket"
)

CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
)
HEADERS = [
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]


class Gate:
    """
    ASGI middleware in front of everything. `origins()` are the configured other origins.

    `loopback_only`: personal mode answers only to loopback names, so that a web page cannot reach it
    through a name of its own (DNS rebinding), and under them only to this machine. `max_body_mb()` is the largest request body.
    """

    def __init__(
        self,
        app: ASGIApp,
        origins: Callable[[], tuple[str, ...]],
        max_body_mb: Callable[[], int],
        *,
        loopback_only: bool,
    ) -> None:
        self._app = app
        self._origins = origins
        self._max_body_mb = max_body_mb
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = secrets.token_hex(8)
        scope["state"]["request_id"] = request_id
        structlog.contextvars.bind_contextvars(request=request_id)
        # Our headers are for pages and answers; a WebSocket would pay for the detour with every frame.
        answer = _with_headers(send, request_id, scope) if "method" in scope else send
        try:
            self._check(scope)
        except OqtoError as exc:
            scope["path_template"] = "(refused)"
            if isinstance(exc, TooLarge):
                await _drain(receive)
            await _refuse(scope, answer, exc, request_id)
            return
        if (method := scope.get("method")) is None:
            scope["state"]["send"] = send
            await self._app(scope, receive, answer)
            return
        limited = receive if method in SAFE_METHODS else self._limited(receive)
        with tracing.request_span(str(method), scope["headers"]) as span:
            scope["state"]["span"] = span
            await self._app(scope, limited, answer)

    def _limited(self, receive: Receive) -> Receive:
        """Raises `TooLarge` inside the handler that reads a body without end."""
        limit_mb, taken = self._max_body_mb(), 0

        async def limited() -> Any:
            nonlocal taken
            message: Any = await receive()
            taken += len(message.get("body", b""))
            if taken > limit_mb * 2**20:
                raise _too_large(limit_mb)
            return message

        return limited

    def _check(self, scope: Scope) -> None:
        if scope["state"].get("door") == "admin-socket":
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"] if name in _LOOKED_AT}
        host = headers.get(b"host", "")
        if self._loopback_only:
            self._check_personal(scope, host)
        if (length := headers.get(b"content-length", "")).isdecimal():
            limit_mb = self._max_body_mb()
            if int(length) > limit_mb * 2**20:
                raise _too_large(limit_mb)
        is_unsafe = scope.get("method") not in SAFE_METHODS  # a WebSocket has none
        origin = headers.get(b"origin")
        if is_unsafe and origin is not None and not self._is_ours(origin, host):
            raise Forbidden(f"requests from {origin} are not allowed; see auth.allowed_origins")
        if (
            is_unsafe
            and origin is None
            and headers.get(b"sec-fetch-site", "none") not in ("none", "same-origin")
        ):
            raise Forbidden("requests from other sites are not allowed")

    def _check_personal(self, scope: Scope, host: str) -> None:
        name = _hostname(host)
        if name not in LOOPBACK:
            if name not in {_hostname(origin) for origin in self._origins()}:
                raise Forbidden(f"this server answers on 127.0.0.1 only, not as {host!r}")
        elif (client := scope.get("client")) and not client[0].startswith(LOOPBACK_ADDRESSES):
            # Whoever calls from elsewhere can say any name.
            raise Forbidden(f"personal mode answers this machine only, not {client[0]}")

    def _is_ours(self, origin: str, host: str) -> bool:
        return origin in self._origins() or (bool(host) and _netloc(origin) == host)


DRAIN_BYTES = 64 * 2**20
_LOOKED_AT = frozenset({b"host", b"origin", b"sec-fetch-site", b"content-length"})


def _too_large(limit_mb: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit_mb} MiB (server.max_upload_size_mb)")


async def signed_in(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """The guard of every route. Leaves the identity in `connection.user`."""
    if handler.opt.get("public"):
        return
    identity = await identify(connection)
    if identity is None:
        raise NotSignedIn("sign in first")
    acting.set(identity)
    structlog.contextvars.bind_contextvars(account=identity.account_id)
    if handler.opt.get("admin") and not identity.is_admin:
        audit: AuditLog = connection.app.state.services.audit
        audit(AccessRefused(target=connection.scope["path"], outcome="refused"))
        raise Forbidden("only an admin may do this")
    connection.scope["user"] = identity


async def identify(connection: ASGIConnection[Any, Any, Any, Any]) -> Identity | None:
    """The identity behind a connection: the admin socket, a bearer token or the cookie."""
    if connection.scope["state"].get("door") == "admin-socket":
        return ADMIN_SOCKET
    token = credential(connection)
    tokens: Tokens = connection.app.state.services.tokens
    return await tokens.verify(token) if token else None


def credential(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """
    The token that came with the request, or an empty text.

    Read from the raw headers: Litestar's views of headers and cookies cost half of what the guard may.
    """
    cookies = []
    for name, value in connection.scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip().decode("latin-1")
        if name == b"cookie":
            cookies += value.decode("latin-1").split(";")
    pairs = (cookie.strip().partition("=") for cookie in cookies)
    return next((value for name, _, value in pairs if name == COOKIE), "")


def _hostname(host: str) -> str:
    try:
        return urlsplit(host if "//" in host else f"//{host}").hostname or ""
    except ValueError:  # such as `[::1` without its end
        return ""


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _with_headers(send: Send, request_id: str, scope: Scope) -> Send:
    started = time.perf_counter()

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            _count(scope, message["status"], time.perf_counter() - started)
            present = {name.lower() for name, _ in message["headers"]}
            ours = [header for header in HEADERS if header[0] not in present]
            message["headers"] = [*message["headers"], *ours, (b"x-request-id", request_id.encode())]
        await send(message)

    return wrapped


def _count(scope: Scope, status: int, seconds: float) -> None:
    """By the route's pattern: a path would make a number for each session."""
    route = scope.get("path_template") or "(page)"
    method = str(scope.get("method"))
    method = method if method in METHODS else "OTHER"
    tracing.answered(scope["state"].get("span"), method, route, status)
    counts.add("oqto_http_requests", (method, route, str(status)))
    counts.observe("oqto_http_request_seconds", (route,), seconds)
    if is_shown("oqto.http", "debug"):
        log.debug("answered", method=method, route=route, status=status, ms=round(seconds * 1e3, 1))


async def _drain(receive: Receive) -> None:
    """
    Take some of a body that is too large before the refusal.

    The connection closes after it, and a client that still sends then would never see the answer.
    """
    taken = 0
    while taken < DRAIN_BYTES:
        message: Any = await receive()
        taken += len(message.get("body", b""))
        if not message.get("more_body"):
            return


async def _refuse(scope: Scope, send: Send, exc: OqtoError, request_id: str) -> None:
    if "method" not in scope:
        await send({"type": "websocket.close", "code": 4403, "reason": exc.detail})
        return
    body = msgspec.json.encode(exc.to_problem(request_id))
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": exc.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
