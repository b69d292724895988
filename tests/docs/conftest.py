"""The documentation as data: pages, their blocks and tables."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of a page; `words` is what stands after the three ticks."""

    page: str
    words: list[str]
    body: str


class Documents:
    """Every Markdown page that is part of the repository."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pages = {name: (root / name).read_text(encoding="utf-8") for name in self._names()}

    def _names(self) -> list[str]:
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
        done = subprocess.run(listed, cwd=self.root, capture_output=True, text=True, check=True)
        return sorted(name for name in done.stdout.split("\n") if name and (self.root / name).is_file())

    def blocks(self, *words: str) -> list[Block]:
        """The blocks whose info string begins with `words`."""
        found = [
            Block(name, match["info"].split(), match["body"])
            for name, text in self.pages.items()
            for match in FENCE.finditer(text)
        ]
        return [block for block in found if block.words[: len(words)] == list(words)]

    def prose(self, name: str) -> str:
        """A page without its fenced blocks."""
        return FENCE.sub("", self.pages[name])

    def rows(self, name: str, heading: str = "") -> Iterator[list[str]]:
        """Cells of every table row below `heading` (all tables without one), up to the next heading."""
        text = self.pages[name]
        if heading:
            text = re.split(r"^#+ ", text.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
        for line in text.splitlines():
            if line.startswith("| ") and not line.startswith("| ---"):
                yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


@pytest.fixture(scope="session")
def documents() -> Documents:
    return Documents(REPOSITORY)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY
