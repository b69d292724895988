"""The init process as code: the modules of `init/` that a session needs, compiled once for its interpreter."""

from __future__ import annotations

import marshal
from functools import cache
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import CodeType

from oqto_plugin_sandbox import host

FOLDER = Path(__file__).parent / "init"
PACKAGE = "oqto_plugin_sandbox.init"


def boot() -> bytes:
    """What the interpreter runs: source or, for one that takes it, a `.pyc`: header of 16 bytes, then code."""
    code = _code("boot", compiled=host.interpreter().takes_our_bytecode)
    if isinstance(code, str):
        return code.encode()
    return MAGIC_NUMBER + bytes(12) + marshal.dumps(code)


def modules(*, has_relays: bool, has_landlock: bool) -> list[tuple[str, CodeType | str]]:
    """Names and code in the order of their imports, without those that this session has no use for."""
    wanted = [
        "kernel",
        "check",
        *(["forward"] if has_relays else []),
        *(["landlock"] if has_landlock else []),
    ]
    compiled = host.interpreter().takes_our_bytecode
    return [
        (f"{PACKAGE}.{name}", _code(name, compiled=compiled))
        for name in (*wanted, "agent", "supervise", "main")
    ]


@cache
def _code(name: str, *, compiled: bool) -> CodeType | str:
    source = (FOLDER / f"{name}.py").read_text()
    return compile(source, f"oqto-init-{name}", "exec", dont_inherit=True, optimize=2) if compiled else source
