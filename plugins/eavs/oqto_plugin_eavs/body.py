"""The body of a request: read within limits, unpacked when it came compressed."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import zstandard

from .refusals import Refused

if TYPE_CHECKING:
    from .request import Request

SMALL = 2**20
"""Bodies up to here are not counted against `Bodies.limit`."""
TOGETHER = 256 * 2**20
UNPACKED_AT_ONCE = 2**20


class Bodies:
    """Reads bodies of at most `limit` bytes each; large ones of all calls together stay under `together`."""

    def __init__(self, together: int = TOGETHER) -> None:
        self._together = together
        self.held = 0

    async def read(self, request: Request, limit: int) -> Body:
        """The whole body. Raises `Refused` (413, 415, 400; 503 when too many large ones are under way)."""
        body = Body(self)
        try:
            await body.fill(request, limit)
        except BaseException:
            body.release()
            raise
        return body

    def take(self, size: int) -> None:
        """Count bytes of a large body in."""
        if self.held + size > self._together:
            text = "Too many large requests are under way."
            raise Refused(503, "too_many_large_requests", text, retry_after_s=2)
        self.held += size


class Body:
    """The bytes of one request, counted until `release`."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies, self._counted = bodies, 0
        self.data = b""

    async def fill(self, request: Request, limit: int) -> None:
        """Read and unpack."""
        if int(request.headers.get(b"content-length", b"0")) > limit:
            raise _too_large(limit)
        parts, size = [], 0
        while (part := await request.chunk()) is not None:
            parts.append(part)
            size += len(part)
            self._check(size, limit)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        encoding = request.headers.get(b"content-encoding", b"").strip().lower()
        self.data = self._unpacked(data, encoding, limit) if encoding not in (b"", b"identity") else data

    def _check(self, size: int, limit: int) -> None:
        if size > limit:
            raise _too_large(limit)
        if size > max(SMALL, self._counted):
            self._bodies.take(size - self._counted)
            self._counted = size

    def _unpacked(self, data: bytes, encoding: bytes, limit: int) -> bytes:
        if encoding not in (b"gzip", b"deflate", b"zstd"):
            raise Refused(
                415, "unsupported_encoding", "Send the body as it is, or compressed with gzip or zstd."
            )
        try:
            return self._inflated(data, limit) if encoding != b"zstd" else self._from_zstd(data, limit)
        except (zlib.error, zstandard.ZstdError) as exc:
            text = f"The body is not valid {encoding.decode()}: {exc}."
            raise Refused(400, "invalid_encoding", text) from exc

    def _inflated(self, data: bytes, limit: int) -> bytes:
        unpack, parts, size = zlib.decompressobj(zlib.MAX_WBITS | 32), [], 0
        while data:
            parts.append(unpack.decompress(data, UNPACKED_AT_ONCE))
            size += len(parts[-1])
            self._check(size, limit)
            data = unpack.unconsumed_tail
        if not unpack.eof:
            raise zlib.error("it ends too early")
        return b"".join(parts)

    def _from_zstd(self, data: bytes, limit: int) -> bytes:
        parts, size = [], 0
        with zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(
            data, read_across_frames=True
        ) as reader:
            while part := reader.read(UNPACKED_AT_ONCE):
                parts.append(part)
                size += len(part)
                self._check(size, limit)
        return b"".join(parts)

    def release(self) -> None:
        """The body is no longer needed."""
        self._bodies.held -= self._counted
        self._counted, self.data = 0, b""


def _too_large(limit: int) -> Refused:
    return Refused(413, "request_too_large", f"The body is larger than {limit // 2**20} MiB.")
