"""
Load libraries without their docstrings, as `python -OO` does: nobody reads those of a server, and they weigh 4 MB.

Only the libraries that are named. Of them the assertions go too; those of Oqto and of plugins stay.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import cache_from_source
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any


def load(*libraries: str) -> None:
    """From now on, in this process."""
    sys.meta_path.insert(0, _Finder(frozenset(libraries)))


class _Finder(MetaPathFinder):
    def __init__(self, libraries: frozenset[str]) -> None:
        self._libraries = libraries

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The ordinary way to a module of these libraries, with another loader."""
        if fullname.partition(".")[0] not in self._libraries:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and spec.origin and type(spec.loader) is SourceFileLoader and _pays(spec.origin):
            spec.loader = _Loader(fullname, spec.origin)
        return spec


class _Loader(SourceFileLoader):
    """Keeps its code beside the ordinary one, in the files of `-OO`."""

    # `source_to_code`, `get_data` and `set_data` are what importlib offers to loaders that differ in this.
    @staticmethod
    def source_to_code(data: Any, path: Any = "<string>", **_: Any) -> CodeType:
        code: CodeType = compile(data, path, "exec", dont_inherit=True, optimize=2)
        return code

    def get_data(self, path: Any) -> bytes:
        return super().get_data(self._own(path))

    def set_data(self, path: Any, data: Any, **kwargs: Any) -> None:
        super().set_data(self._own(path), data, **kwargs)

    def _own(self, path: Any) -> str:
        source = str(self.path)
        return str(path) if path == source else _compiled(source)


def _compiled(source: str) -> str:
    return cache_from_source(source, optimization=2)


def _pays(source: str) -> bool:
    """Code that cannot be kept would be compiled at each start, which takes seconds."""
    compiled = Path(_compiled(source))
    folder = compiled.parent if compiled.parent.exists() else Path(source).parent
    return compiled.exists() or (os.access(folder, os.W_OK) and not sys.dont_write_bytecode)
