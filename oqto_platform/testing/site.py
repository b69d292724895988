"""Plugins of strangers, as an installer would leave them: a package and its metadata in a folder of the import path."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path


class Site:
    """A folder with installed plugins. `run` starts Python with it on the import path, and nothing else of ours."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "site"
        self.home = root / "home"
        self.folder.mkdir()
        self.home.mkdir()

    def install(
        self,
        name: str,
        *,
        core: str | None = None,
        runner: str | None = None,
        version: str = "2.7.1",
        requires: str = "oqto-platform>=1.0,<2",
        distribution: str = "",
        **files: str,
    ) -> None:
        """Write `oqto-plugin-NAME`; `files` are further modules of its package."""
        distribution = distribution or f"oqto-plugin-{name}"
        module = distribution.replace("-", "_")
        package = self.folder / module
        package.mkdir()
        sources = {"core": core, "runner": runner, "__init__": "", **files}
        for file, text in sources.items():
            if text is not None:
                (package / f"{file}.py").write_text(textwrap.dedent(text))
        sides = [side for side, text in (("core", core), ("runner", runner)) if text is not None]
        points = "\n".join(f"[oqto.{side}]\n{name} = {module}.{side}\n" for side in sides)
        self._describe(distribution, version, requires, points)

    def _describe(self, distribution: str, version: str, requires: str, points: str) -> None:
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        head = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        (info / "METADATA").write_text(f"{head}Requires-Dist: {requires}\n")
        (info / "entry_points.txt").write_text(points)

    def env(self, **more: str) -> dict[str, str]:
        return {"HOME": str(self.home), "PATH": os.environ["PATH"], "PYTHONPATH": str(self.folder), **more}

    def run(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *argv], env=self.env(**env), cwd="/", capture_output=True, text=True, timeout=120, check=False
        )  # fmt: skip

    def oqtoctl(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        program = "import sys; from oqto_platform.cli import main; main()"
        nobody = {"OQTO_ADMIN_SOCKET": str(self.home / "none.sock")}
        return self.run("-c", program, *arguments, **(nobody | env))
