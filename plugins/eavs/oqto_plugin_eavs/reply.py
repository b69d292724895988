"""What a call and the connection to its provider are to each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from oqto_platform.errors import OqtoError

Headers = list[tuple[bytes, bytes]]
Sink = Callable[[bytes], None]
ChunkSink = Callable[[bytes, int], None]
"""Takes one chunk of a chunked body with its framing, and where its content begins; a line end follows that."""
SWEEP_S = 1.0


@dataclass(frozen=True)
class Timeouts:
    """Seconds: to connect, to the reply's first byte, between bytes, and for the whole exchange."""

    connect_s: float = 10.0
    first_byte_s: float = 600.0
    silence_s: float = 600.0
    total_s: float = 3600.0

    @property
    def sweep_s(self) -> float:
        """How often deadlines are looked at: one timer for all connections costs less than one for each."""
        return min(SWEEP_S, self.first_byte_s / 10, self.silence_s / 10, self.total_s / 10)


class Sending(Protocol):
    """A request body that comes in pieces."""

    length: int | None

    async def chunk(self) -> bytes | None:
        """The next piece, `None` at the end. What it raises ends the exchange."""


class UpstreamFailed(OqtoError):
    """The provider could not be reached, or broke off. `was_sent`: the request may have reached it."""

    code, status, title = "upstream-failed", 502, "Provider unreachable"

    def __init__(self, detail: str, *, was_sent: bool, is_timeout: bool = False) -> None:
        super().__init__(detail)
        self.was_sent, self.is_timeout = was_sent, is_timeout


class Reader(Protocol):
    """Who reads what `sink` writes. `on_full` is told when it is full and when it has room again."""

    on_full: Callable[[bool], None] | None

    async def drained(self) -> None:
        """Wait until there is room."""


class Reply(Protocol):
    """A reply being received, from a provider or from inside."""

    status: int
    headers: Headers

    async def chunk(self) -> bytes | None:
        """What arrived next; `None` at the end."""

    async def pump(
        self, sink: Sink, reader: Reader, quiet_s: float, chunk_sink: ChunkSink | None = None
    ) -> None:
        """
        Give each piece to `sink` as it arrives, and `b""` after `quiet_s` seconds of silence, to the end.

        A piece that came as exactly one HTTP chunk may go to `chunk_sink` instead, with its framing.
        Pauses while `reader` is full. What a sink raises ends the reply and is raised here.
        """

    def close(self) -> None:
        """Give the connection back, or cut it when the reply is not at its end."""


class Listener(Protocol):
    """Who is told of a reply as it comes, in the place of a coroutine that awaits it."""

    def heard(self) -> None:
        """The head is there and maybe more; without a sink each time that more has come, with one at the end."""

    def failed(self, error: Exception) -> None:
        """The exchange is over."""
