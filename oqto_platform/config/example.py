"""The commented example file: every key with its meaning and its default, nothing switched on."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from oqto_platform.config import keys
from oqto_platform.config.keys import Key, Kinds
from oqto_platform.config.schema import ADDRESS
from oqto_platform.config.view import plain, shown
from oqto_platform.settings import Section

HEAD = f"""\
"$schema" = "{ADDRESS}"

# Every key with its default. Take the "# " away from the ones you change.
# Paths may begin with ~ and hold $NAME; secrets may be env:NAME or file:PATH.
# A change takes effect when the file is saved, except where "restart" stands.

# profile = "default"    # NAME: config.NAME.toml is laid over this file
"""
WIDTH = 96


def example(kinds: Kinds) -> str:
    """The text of a new `config.toml`; loading it gives the defaults."""
    return "\n".join([HEAD, *(line for name, kind in kinds.items() for line in _section(name, kind))])


def _section(name: str, kind: type[Section]) -> Iterator[str]:
    declared = keys.of(name, kind)
    yield f"[{name}]"
    for key in declared:
        if not keys.is_section(key.hint):
            yield from _key(key)
    yield ""
    for key in declared:
        if keys.is_section(key.hint):
            yield from _section(key.name, key.hint)


def _key(key: Key) -> Iterator[str]:
    marks = ["restart"] if key.restart else []
    marks += [f"not in this version: {key.needs}"] if key.needs else []
    marks += ["unset"] if key.default is None else []
    words = key.description + (f" [{'; '.join(marks)}]" if marks else "")
    yield from textwrap.wrap(words, WIDTH, initial_indent="## ", subsequent_indent="## ")
    yield f"# {key.field.name} = {shown(_sample(key) if key.default is None else plain(key.default))}"


def _sample(key: Key) -> Any:
    """Something to write where nothing is the default."""
    choices = keys.choices(key.hint)
    return choices[0] if choices else 4 if int in keys.members(key.hint) else ""
