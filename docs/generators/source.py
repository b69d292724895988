"""The code as text and as modules: only what this repository holds, whatever else is installed."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

from oqto_platform.hooks import Side, installed

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "oqto_platform": ROOT / "oqto_platform",
    "oqto_runner": ROOT / "runner" / "oqto_runner",
    **{f"oqto_plugin_{folder.name}": folder / f"oqto_plugin_{folder.name}"
       for folder in sorted((ROOT / "plugins").iterdir()) if (folder / "pyproject.toml").is_file()},
}  # fmt: skip
# Importing these does something: builds the app, runs a program, migrates.
NOT_IMPORTED = (
    "oqto_platform.app",
    "oqto_platform.testing",
    "oqto_platform.db.migrations",
    "__main__",
)


def files() -> Iterator[tuple[str, str]]:
    """Path below the repository and text of every Python file of the product."""
    for folder in PACKAGES.values():
        for path in sorted(folder.rglob("*.py")):
            if "testing" not in path.parts:
                yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def import_all() -> None:
    """Import every module that may declare something."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}.", onerror=lambda _: None):
            if not module.name.startswith(NOT_IMPORTED[:3]) and not module.name.endswith(NOT_IMPORTED[3:]):
                importlib.import_module(module.name)


def plugins(side: Side) -> list[EntryPoint]:
    """The plugins of this repository on one side."""
    return [entry for entry in installed(side) if entry.module.partition(".")[0] in PACKAGES]


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
