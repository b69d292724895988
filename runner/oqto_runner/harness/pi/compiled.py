"""
Pi's modules as Node's V8 compiled them: read by every session, written by none.

Compiling is a quarter of pi's start. Node keeps the result where `NODE_COMPILE_CACHE` says and checks each
entry against its source, not against malice; so a session gets it read-only, and what fills it is a
rehearsal, a confined pi without a workspace, a model or a person.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from oqto_runner.harness.pi.private import make_private_folder
from oqto_runner.harness.pi.program import Program


class CompiledCode:
    """The folders below `root` (0700), one for each pair of pi and Node; the newest pair's is kept."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def of(self, program: Program) -> Path:
        """Where the code of `program` is, or will be after a rehearsal."""
        parts = (f"{path}\0{path.stat().st_mtime_ns}\0" for path in (program.node, program.script))
        return self._root / hashlib.sha256("".join(parts).encode()).hexdigest()[:32]

    def begin(self, program: Program) -> Path:
        """An empty folder for a rehearsal to fill. Raises `AgentFailed` when it cannot be made."""
        shutil.rmtree(self._root, ignore_errors=True)
        make_private_folder(self._root)
        fresh = self._fresh(program)
        make_private_folder(fresh)
        return fresh

    def keep(self, program: Program) -> None:
        """The rehearsal ended well: from now on sessions read what it left."""
        self._fresh(program).rename(self.of(program))

    def _fresh(self, program: Program) -> Path:
        return self.of(program).with_suffix(".new")
