"""Where a proxy lives: its folders, its sockets, its address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Place:
    """`state` holds the sockets, `data` what must survive. With `workers` above 1 they are processes of their own."""

    state: Path
    data: Path
    host: str
    port: int
    llm_mode: int = 0o600
    ca_file: str = ""
    is_durable: bool = True
    workers: int = 1

    @property
    def llm_socket(self) -> Path:
        """What isolated sandboxes talk to."""
        return self.state / "llm.sock"

    @property
    def control_socket(self) -> Path:
        """What the core talks to."""
        return self.state / "control.sock"

    @property
    def till_socket(self) -> Path:
        """What workers talk to."""
        return self.state / "till.sock"

    @property
    def url(self) -> str:
        """The address that agents are given."""
        return f"http://{self.host}:{self.port}"
