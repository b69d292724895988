"""The snapshot that holds now."""

from __future__ import annotations

from oqto_platform.settings import Settings


class Live:
    """`current` is replaced by one assignment; take it once per operation and pass values on."""

    def __init__(self, settings: Settings) -> None:
        self.current = settings
