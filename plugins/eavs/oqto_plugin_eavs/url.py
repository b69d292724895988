"""Where a request goes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Url:
    """Where to, split once."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    @lru_cache(maxsize=1024)
    def of(cls, url: str) -> Url:
        """Split `http(s)://host[:port]/path`."""
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        query = f"?{parts.query}" if parts.query else ""
        return cls(parts.scheme, parts.hostname or "", port, (parts.path or "/") + query)

    @cached_property
    def origin(self) -> tuple[str, str, int]:
        """What one connection can serve."""
        return self.scheme, self.host, self.port

    @cached_property
    def authority(self) -> str:
        """The `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"

    @cached_property
    def first_lines(self) -> bytes:
        """How a request to it begins, after the method."""
        return f" {self.path} HTTP/1.1\r\nhost: {self.authority}\r\n".encode("latin-1")
