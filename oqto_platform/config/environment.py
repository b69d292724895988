"""`OQTO__SECTION__KEY`: one variable for each key."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from oqto_platform.config import keys
from oqto_platform.config.files import Tree
from oqto_platform.config.keys import Kinds
from oqto_platform.config.nearest import nearest
from oqto_platform.errors import ConfigError
from oqto_platform.settings import Section

PREFIX = "OQTO__"
PROFILE = f"{PREFIX}PROFILE"
FLAGS = "OQTO_FLAGS"
"""Names the variables that `oqto serve` sets for options of its command line."""

COMMAND_LINE = "command line"


def variables(env: Mapping[str, str], kinds: Kinds) -> Iterator[tuple[str, list[str], Any]]:
    """Each variable with the key it names (section first) and its value as TOML has it."""
    for variable, text in env.items():
        if not variable.upper().startswith(PREFIX) or variable.upper() == PROFILE:
            continue
        steps = [step.lower() for step in variable[len(PREFIX) :].split("__")]
        if len(steps) < 2 or not all(steps):  # noqa: PLR2004 (a section and a key)
            raise ConfigError(f"{variable}: names no key; the form is {PREFIX}SECTION__KEY")
        if steps[0] not in kinds:
            raise ConfigError(f"{variable}: no section [{steps[0]}]{nearest(steps[0], kinds)}")
        yield variable, steps, value(text, kinds[steps[0]], steps[1:])


def origin(variable: str, env: Mapping[str, str]) -> str:
    """Where a person set what `variable` says."""
    return COMMAND_LINE if variable in env.get(FLAGS, "").split(",") else variable


def put(tree: Tree, steps: list[str], given: Any, name: str) -> None:
    """Set the key at `steps`; `name` is what to call it in an error."""
    *parents, last = steps
    for step in parents:
        tree = tree.setdefault(step, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{name}: {step} is a value, not a table")
    tree[last] = given


def value(text: str, kind: type[Section], steps: list[str]) -> Any:
    """`text` as a value of the key at `steps`: a text where the key is one, else read as TOML."""
    hint: Any = kind
    for step in steps:
        hint = keys.hints(hint).get(step, str) if keys.is_section(hint) else (keys.element(hint) or str)
    if keys.is_text(hint):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
