"""Serves the built web UI: hashed assets for ever, everything else is the page itself."""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

UI = Path(__file__).parent / "ui"
ROUTED = ("/api/", "/health/", "/plugins/", "/metrics")


class Asset(msgspec.Struct, frozen=True):
    """One answer. `body` is a file where its name says what is in it: such a file never changes, it only goes."""

    body: bytes | Path
    headers: tuple[tuple[bytes, bytes], ...]
    etag: bytes
    status: int = 200

    async def read(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return await asyncio.to_thread(self.body.read_bytes)


MISSING = Asset(
    b"<!doctype html><title>Oqto</title><p>The web UI is not built. In a checkout: <code>make ui</code>.",
    ((b"content-type", b"text/html; charset=utf-8"),),
    b'"0"',
)

GONE = Asset(
    b"this file belongs to another version of Oqto; load the page again\n",
    ((b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-cache")),
    b'"gone"',
    status=404,
)
"""A page that was open during an upgrade asks for modules that are no more: the page in their place is a riddle."""


def read_assets(folder: Path) -> dict[str, Asset]:
    """Every file of the built UI by its URL path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {f"/{path.relative_to(folder).as_posix()}": _asset(path) for path in files}


class WebUI:
    """ASGI: a file of the built UI, or the page for any other path."""

    def __init__(self, folder: Path = UI) -> None:
        self._assets = read_assets(folder)
        self._page = self._assets.get("/index.html") or MISSING

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        fallback = GONE if scope["path"].startswith("/assets/") else self._page
        await _send(scope, send, self._assets.get(scope["path"], fallback))


async def _send(scope: Scope, send: Send, asset: Asset) -> None:
    known = next((value for name, value in scope["headers"] if name == b"if-none-match"), b"")
    try:
        status, body = (304, b"") if known == asset.etag else (asset.status, await asset.read())
    except FileNotFoundError:
        asset, status, body = GONE, GONE.status, await GONE.read()
    headers = [*asset.headers, (b"etag", asset.etag), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    is_head = scope.get("method") == "HEAD"
    await send({"type": "http.response.body", "body": b"" if is_head else body, "more_body": False})


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    charset = "; charset=utf-8" if kind.startswith("text/") or kind.endswith("javascript") else ""
    is_hashed = path.parent.name == "assets"
    lasting = b"public, max-age=31536000, immutable" if is_hashed else b"no-cache"
    etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'.encode()
    kept = path if is_hashed else body
    return Asset(kept, ((b"content-type", f"{kind}{charset}".encode()), (b"cache-control", lasting)), etag)
