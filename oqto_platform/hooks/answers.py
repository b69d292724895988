"""What a hook may answer with: the type that its specification names, and not without measure."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

LARGEST_BYTES = 1_000_000
"""Of one answer, written as JSON. What is larger would travel to a browser or into every session."""


@dataclass(frozen=True)
class Answer:
    """A type and, for sequences, the type of the elements."""

    name: str
    kind: type
    element: type | None

    def fits(self, answer: Any) -> bool:
        if self.element is None:
            return isinstance(answer, self.kind)
        is_list = isinstance(answer, Sequence) and not isinstance(answer, str)
        return is_list and all(isinstance(item, self.element) for item in answer)


def answers_of(function: Callable[..., Any]) -> tuple[Answer, ...]:
    """What a specification lets implementations answer with; empty when an answer means nothing."""
    hint = typing.get_type_hints(function).get("return")
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    found = [_answer(option) for option in options if option not in (None, type(None), Any)]
    return tuple(answer for answer in found if isinstance(answer.kind, type))


def check(hook: str, plugin: str, answer: Any, expected: tuple[Answer, ...]) -> None:
    """Raise `TypeError` for an answer of another type. Elements are checked, not only their list."""
    if not any(kind.fits(answer) for kind in expected):
        names = " or ".join(kind.name for kind in expected)
        raise TypeError(f"{plugin!r} answered {hook} with {_described(answer)}, expected {names}")


def check_size(hook: str, plugin: str, answer: Any) -> None:
    """Raise `ValueError` for an answer that is larger than `LARGEST_BYTES`."""
    size = len(msgspec.json.encode(answer, enc_hook=repr))
    if size > LARGEST_BYTES:
        text = f"{plugin!r} answered {hook} with {size / 1e6:.1f} MB; {LARGEST_BYTES / 1e6:g} MB is the limit"
        raise ValueError(text)


def _answer(hint: Any) -> Answer:
    kind = typing.get_origin(hint) or hint
    elements = (
        [item for item in typing.get_args(hint) if item is not Any and isinstance(item, type)]
        if kind is Sequence
        else []
    )
    element = elements[0] if elements else None
    return Answer(f"{kind.__name__}[{element.__name__}]" if element else kind.__name__, kind, element)


def _described(answer: Any) -> str:
    kind = type(answer).__name__
    if isinstance(answer, list | tuple):
        return f"{kind}[{', '.join(sorted({type(item).__name__ for item in answer}))}]"
    return kind


def close(awaitable: Any) -> None:
    """Let a coroutine go that nobody will await, so that nobody is told of it later."""
    if (end := getattr(awaitable, "close", None)) is not None:
        end()
