"""
What the workers and the owner of the ledger say to each other, over a Unix socket that is open as long as both live.

A frame is four bytes of length and MessagePack. `n` numbers a question of one worker and comes back in its answer.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from .keys import Grants
from .prices import Tokens
from .providers import Provider

HEAD = 4
LIMIT = 16 * 2**20


class Find(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Which key has this hash?"""

    n: int
    hash: bytes


class Look(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """May the key call now?"""

    n: int
    hash: bytes
    takes: bool


class Open(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Set money aside for a call, on disk."""

    n: int
    id: str
    hash: bytes
    provider: str
    model: str
    dialect: str
    priced_as: str
    hold: int
    tokens: int
    after: str = ""


class Stretch(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Set more aside."""

    n: int
    id: str
    hold: int


class Close(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The bill of a call."""

    n: int
    id: str
    tokens: Tokens
    cost: int
    outcome: str
    status: int
    is_estimated: bool
    keeps_place: bool


class Note(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """A refusal, for the metrics. No answer."""

    reason: str


class Applied(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """The set-up of that number is in force here."""

    number: int


class Limits(msgspec.Struct, frozen=True, array_like=True):
    """See `proxy.Limits`."""

    max_body: int
    hold_output: int
    allow_unpriced: bool


class SetUp(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """The providers, with their secrets, and the limits of requests."""

    number: int
    providers: list[Provider]
    limits: Limits


class Known(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """The key that was asked for."""

    n: int
    id: str
    hash: bytes
    grants: Grants
    expires_at: float | None


class Done(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """Yes."""

    n: int


class No(msgspec.Struct, frozen=True, array_like=True, tag=23):
    """A refusal, as `refusals.Refused` has it."""

    n: int
    status: int
    reason: str
    detail: str
    retry_after_s: float = 0.0
    used_up: tuple[str, int] = ("", 0)


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag=24):
    """End this call."""

    id: str


class Forget(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """The key is no longer in force."""

    hash: bytes


FromWorker = Find | Look | Open | Stretch | Close | Note | Applied
FromOwner = SetUp | Known | Done | No | Cancel | Forget
decode_from_worker = msgspec.msgpack.Decoder(FromWorker).decode
decode_from_owner = msgspec.msgpack.Decoder(FromOwner).decode
_encode = msgspec.msgpack.Encoder().encode


class Line(asyncio.Protocol):
    """One end of the socket. A subclass has `received(message)` and `ended()`; a frame that is no message ends it."""

    def __init__(self, decode: Any) -> None:
        self._decode = decode
        self._buffer = bytearray()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= HEAD:
            end = HEAD + int.from_bytes(self._buffer[:HEAD], "big")
            if end > LIMIT:
                self.cut()
                return
            if len(self._buffer) < end:
                return
            frame = bytes(self._buffer[HEAD:end])
            del self._buffer[:end]
            self.received(self._decode(frame))

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.ended()

    def say(self, message: FromWorker | FromOwner) -> None:
        """Send a message; forgotten when the other end has gone."""
        if self.transport is not None:
            data = _encode(message)
            self.transport.write(len(data).to_bytes(HEAD, "big") + data)

    def cut(self) -> None:
        """End the connection."""
        if self.transport is not None:
            self.transport.abort()

    def received(self, message: Any) -> None:
        """A message has come."""

    def ended(self) -> None:
        """The other end has gone."""
