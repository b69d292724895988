"""
Which call a path means, and which key came with it.

    /p/NAME/v1/chat/completions    at the provider NAME       /NAME/v1/…    the same, in EAVS's own form
    /v1/chat/completions           at the provider that offers the model

Clients put their own `/v1` behind the base URL they are given, so it may stand there twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlencode

from . import meters
from .refusals import Refused

if TYPE_CHECKING:
    from .refusals import Dialect

ENDPOINTS: dict[str, tuple[str, Dialect]] = {
    "chat/completions": ("chat", "chat"),
    "messages": ("messages", "messages"),
    "messages/count_tokens": ("count", "messages"),
    "responses": ("responses", "responses"),
    "embeddings": ("embeddings", "embeddings"),
    "realtime": ("realtime", "chat"),
    "models": ("models", "chat"),
}
GEMINI = re.compile(r"^models/([^/]+):(generateContent|streamGenerateContent|countTokens)$")
VERSION = re.compile(r"^(?:v1beta|v1|api)/")
KEY_PROTOCOL = "openai-insecure-api-key."
"""How a browser, which can set no header, gives its key to a WebSocket."""
METERS = {
    "chat": meters.ChatMeter,
    "embeddings": meters.ChatMeter,
    "messages": meters.MessagesMeter,
    "responses": meters.ResponsesMeter,
    "gemini": meters.GeminiMeter,
}


@dataclass(slots=True, frozen=True)
class Route:
    """A call: its `action`, in which `dialect`, at which `provider` (empty: whoever has the model)."""

    action: str
    dialect: Dialect
    provider: str
    path: str
    model: str = ""
    is_free: bool = False
    """Whether no provider bills for it."""
    is_stream: bool = False
    """Whether the path alone says that the reply is a stream."""


@lru_cache(maxsize=1024)
def route(path: str, providers: frozenset[str]) -> Route:
    """The call of a path; raises `Refused` (404) for any that this proxy does not meter."""
    provider, rest = _split(path.strip("/"), providers)
    while match := VERSION.match(rest):
        rest = rest[match.end() :]
    if match := GEMINI.match(rest):
        name, verb = unquote(match.group(1)), match.group(2)
        if verb == "countTokens":
            return Route("count", "gemini", provider, rest, name, is_free=True)
        return Route("gemini", "gemini", provider, rest, name, is_stream=verb == "streamGenerateContent")
    if rest.startswith("models/"):
        name = unquote(rest.removeprefix("models/"))
        return Route("models", "chat", provider, "models", name, is_free=True)
    if rest not in ENDPOINTS:
        raise Refused(
            404, "unknown_path", f"There is nothing at {path}. Paths that are not metered are not relayed."
        )
    action, dialect = ENDPOINTS[rest]
    return Route(action, dialect, provider, rest, is_free=action in ("count", "models"))


def _split(path: str, providers: frozenset[str]) -> tuple[str, str]:
    head, _, rest = path.partition("/")
    if head == "p":
        name, _, rest = rest.partition("/")
        return unquote(name), rest
    return (head, rest) if head in providers else ("", path)


def dialect_of(path: str) -> Dialect:
    """The dialect of a path that may not be understood otherwise, for the refusal."""
    if "messages" in path:
        return "messages"
    if "generateContent" in path.replace("streamG", "g") or "v1beta" in path:
        return "gemini"
    return "responses" if path.endswith("responses") else "chat"


def secret_of(headers: dict[bytes, bytes], query: bytes) -> str:
    """The key of a request, wherever its client library puts it; empty without one."""
    bearer = headers.get(b"authorization", b"")
    if bearer[:7].lower() == b"bearer ":
        return bearer[7:].strip().decode("latin-1")
    for name in (b"x-api-key", b"x-goog-api-key", b"api-key"):
        if name in headers:
            return headers[name].strip().decode("latin-1")
    if offered := headers.get(b"sec-websocket-protocol"):
        for protocol in offered.decode("latin-1").split(","):
            if protocol.strip().startswith(KEY_PROTOCOL):
                return protocol.strip().removeprefix(KEY_PROTOCOL)
    return dict(parse_qsl(query.decode("latin-1"))).get("key", "") if b"key=" in query else ""


def without_key(query: bytes) -> str:
    """The query string without `key`."""
    if b"key=" not in query:
        return query.decode("latin-1") if query else ""
    return urlencode(
        [pair for pair in parse_qsl(query.decode("latin-1"), keep_blank_values=True) if pair[0] != "key"]
    )
