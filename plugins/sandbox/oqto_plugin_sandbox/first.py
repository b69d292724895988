"""The first process inside: its program for this machine, and its configuration as words."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from oqto_platform.errors import Unconfined

FOLDER = Path(__file__).parent / "init"


@cache
def program() -> bytes:
    """The executable, as `tools/sandbox_init.py` built it from `init/source`. Raises `Unconfined`."""
    file = FOLDER / f"init-{platform.machine()}"
    try:
        return file.read_bytes()
    except OSError as exc:
        raise Unconfined(f"cannot read {file}: {exc.strerror}; install oqto-plugin-sandbox again") from exc


def words(statements: Iterable[tuple[object, ...]]) -> bytes:
    """Every word of every statement with a zero byte behind it."""
    return b"".join(_word(word) for statement in statements for word in statement)


def _word(word: object) -> bytes:
    text = os.fsencode(str(word))
    if b"\0" in text:
        raise Unconfined(f"{word!r} has a zero byte and cannot be handed to the sandbox")
    return text + b"\0"
