"""
What a section of the configuration is, and the immutable snapshot that holds them all.

One declaration per key: the field of a `Section`, with its constraint, its description and its marks.
Parsing, defaults, messages and documentation follow from it.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section. A subclass states each key once, with a default and `key(…)`."""

    def check(self) -> None:
        """What no single key can say. A subclass raises `ValueError("key: what is wrong and its repair")`."""


PathKind = Literal["", "file", "folder", "socket", "program"]


def key(
    description: str,
    *,
    restart: bool = False,
    needs: str = "",
    expand: bool = False,
    path: PathKind = "",
    placeholders: tuple[str, ...] = (),
    **constraints: Any,
) -> msgspec.Meta:
    """
    The annotation of a key: what it means and how it behaves.

    `restart`: a change waits for the next start. `expand`: `~`, `$VAR`, `env:NAME` and `file:PATH` are
    replaced (in paths and secrets always). `path`: what the text names; a folder where a file is meant is
    refused. `placeholders`: names that may stand in braces. `needs`: the feature this key belongs to is not
    built yet; any value but the default is refused, and the message says so. `constraints` are msgspec's
    (`ge`, `max_length`…).
    """
    extra = {
        "restart": restart,
        "needs": needs,
        "expand": expand or bool(path),
        "path": path,
        "placeholders": placeholders,
    }
    return msgspec.Meta(description=description, extra=extra, **constraints)


class Secret:
    """A text that never shows: `repr` and `str` are `***`, comparison takes constant time."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself. Call it where the secret is used and nowhere earlier."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)


S = TypeVar("S", bound=Section)


class Settings:
    """
    All sections, validated, immutable. Take it once per operation and pass values on.

    `origins` maps `"section.key"` to the file, variable or flag that set it; what is not there is a default.
    `files` are all that were read, references of secrets included. Two of the same `digest` say the same.
    """

    __slots__ = ("_sections", "digest", "files", "generation", "origins", "source")

    def __init__(
        self,
        sections: Mapping[str, Section],
        *,
        generation: int,
        digest: str,
        source: str,
        origins: Mapping[str, str] = MappingProxyType({}),
        files: tuple[Path, ...] = (),
    ) -> None:
        self._sections = dict(sections)
        self.generation = generation
        self.digest = digest
        self.source = source
        self.origins = MappingProxyType(dict(origins))
        self.files = files

    def replaced(self, sections: Mapping[str, Section], generation: int) -> Settings:
        """The same with other values."""
        return Settings(
            sections,
            generation=generation,
            digest=self.digest,
            source=self.source,
            origins=self.origins,
            files=self.files,
        )

    def section(self, name: str, kind: type[S]) -> S:
        """The section `[name]`; `KeyError` when no plugin or core module registered it."""
        found = self._sections[name]
        if not isinstance(found, kind):
            raise TypeError(f"section [{name}] is {type(found).__name__}, not {kind.__name__}")
        return found

    def any_section(self, name: str) -> Section:
        """The section `[name]` of a plugin, whatever its type; `KeyError` when it has none."""
        return self._sections[name]

    def names(self) -> list[str]:
        """Every section that is registered, alphabetical."""
        return sorted(self._sections)
