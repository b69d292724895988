"""What a hook is: its mode, its time-out, its sides. Written on the specification and nowhere else."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeVar

import msgspec
import pluggy

PROJECT = "oqto"

Side = Literal["core", "runner"]
F = TypeVar("F", bound=Callable[..., Any])

hookimpl = pluggy.HookimplMarker(PROJECT)
_spec = pluggy.HookspecMarker(PROJECT)


class Mode(Enum):
    """What a hook's answers mean, and what a failing plugin does to the call."""

    REGISTER = "register"  # plain function, called once at load; a failure stops the start
    NOTIFY = "notify"  # everyone hears; failures are logged, never raised
    CHECK = "check"  # no answer; a failure or a Refusal ends the call
    FIRST = "first"  # the first answer wins; a failure ends the call
    FOLD = "fold"  # each turns the value into the next; a failure ends the call
    COLLECT = "collect"  # every answer counts, by plugin; a failure ends the call


@dataclass(frozen=True)
class Policy:
    """What the specification says about a hook besides its signature."""

    mode: Mode
    timeout_s: float
    sides: tuple[Side, ...]
    value: str | None = None
    failure_is_answer: Callable[[str, BaseException], Any] | None = None
    one_answerer: bool = False
    deprecated: str = ""
    deprecated_arguments: Mapping[str, str] = field(default_factory=dict)


def hookspec(
    mode: Mode,
    *,
    sides: tuple[Side, ...] = ("core",),
    timeout_s: float = 5.0,
    value: str | None = None,
    failure_is_answer: Callable[[str, BaseException], Any] | None = None,
    one_answerer: bool = False,
    deprecated: str = "",
    deprecated_arguments: Mapping[str, str] = {},
) -> Callable[[F], F]:
    """
    Mark a function of `hookspecs` as a hook.

    `value` names the argument that a FOLD turns over. `one_answerer`: besides built-in answers only one plugin may have
    it; two stop the start. `deprecated` and `deprecated_arguments` say what to use instead, since which version.
    """

    def mark(function: F) -> F:
        function.policy = Policy(  # type: ignore[attr-defined]
            mode, timeout_s, sides, value, failure_is_answer, one_answerer, deprecated, deprecated_arguments
        )
        return _spec(function)

    return mark


def policies_of(specs: types.ModuleType) -> dict[str, Policy]:
    """Hook to policy, for every function of a catalogue."""
    return {name: value.policy for name, value in vars(specs).items() if hasattr(value, "policy")}


def arguments_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The arguments of a specification, in order."""
    return function.__code__.co_varnames[: function.__code__.co_argcount]


def changeable(function: Callable[..., Any]) -> dict[str, tuple[str, ...]]:
    """
    The arguments of a specification that a plugin could change in place, and by which fields.

    Structs are frozen, a mapping inside one is not.
    """
    hints = typing.get_type_hints(function)
    found = {name: _mappings(hints[name]) for name in arguments_of(function) if name in hints}
    return {name: fields for name, fields in found.items() if fields}


def _mappings(hint: Any) -> tuple[str, ...]:
    if not (isinstance(hint, type) and issubclass(hint, msgspec.Struct)):
        return ()
    hints = typing.get_type_hints(hint)
    return tuple(name for name in hint.__struct_fields__ if _is_mapping(hints[name]))


def _is_mapping(hint: Any) -> bool:
    origin = typing.get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Mapping)
