"""Compressed request bodies, unpacked piece by piece, so that a small one cannot become a huge one in memory."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Protocol

import zstandard

from .refusals import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

INFLATED_AT_ONCE = 256 * 1024
ZSTD_SLICE = 64
"""Bytes given to zstd at once: four of them may mean a block of 128 KiB, and its output has no bound of its own."""
ZSTD_WINDOW = 2**23
"""The memory that a frame may ask for: what RFC 8878 recommends to support; more only serves an attack."""


class Source(Protocol):
    """What a body is read from."""

    async def chunk(self) -> bytes | None:
        """The next piece, `None` at the end."""


class Unpacked:
    """A body without its compression: gzip, deflate or zstd. Raises `Refused` (415, 400)."""

    def __init__(self, source: Source, encoding: bytes) -> None:
        if (known := DECODERS.get(encoding)) is None:
            raise Refused(
                415, "unsupported_encoding", "Send the body as it is, or compressed with gzip or zstd."
            )
        self._make, self._step = known
        self._source, self._encoding = source, encoding.decode()
        self._decoder = self._make()
        self._packed, self._is_full = b"", False

    async def chunk(self) -> bytes | None:
        """The next piece of what was compressed; `None` at its end."""
        while True:
            try:
                while self._packed or self._is_full:
                    if plain := self._unpack():
                        return plain
            except (zlib.error, zstandard.ZstdError) as exc:
                raise self._invalid(str(exc)) from exc
            if (data := await self._source.chunk()) is None:
                if self._decoder.eof:
                    return None
                raise self._invalid("it ends too early")
            self._packed = data

    def _invalid(self, why: str) -> Refused:
        return Refused(400, "invalid_encoding", f"The body is not valid {self._encoding}: {why}.")

    def _unpack(self) -> bytes:
        if self._decoder.eof:  # another member, or another frame
            self._decoder = self._make()
        plain, self._packed = self._step(self._decoder, self._packed)
        self._is_full = (
            len(plain) == INFLATED_AT_ONCE and not self._decoder.eof
        )  # it may hold back more, even without input
        return plain


def _inflate(decoder: Any, packed: bytes) -> tuple[bytes, bytes]:
    plain = decoder.decompress(packed, INFLATED_AT_ONCE)
    return plain, decoder.unused_data or decoder.unconsumed_tail


def _from_zstd(decoder: Any, packed: bytes) -> tuple[bytes, bytes]:
    plain = decoder.decompress(packed[:ZSTD_SLICE])
    return plain, decoder.unused_data + packed[ZSTD_SLICE:]


def _inflater() -> Any:
    return zlib.decompressobj(zlib.MAX_WBITS | 32)


def _zstd() -> Any:
    return zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()


_Step = tuple["Callable[[], Any]", "Callable[[Any, bytes], tuple[bytes, bytes]]"]
DECODERS: dict[bytes, _Step] = {
    b"gzip": (_inflater, _inflate),
    b"deflate": (_inflater, _inflate),
    b"zstd": (_zstd, _from_zstd),
}
