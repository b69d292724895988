"""
Reading JSON objects in which each key that counts stands once.

Of two equal keys one reader takes the first, another the last. What was read here decides what a call may ask for
and cost; the bytes go on as they are, to somebody who may read the other one. msgspec takes the last and says
nothing, but it asks a hook about each value of a type that it does not know, also when the key comes again and
however the key is written. So the fields get such types, each its own, and a second question of one is the second key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T", bound=msgspec.Struct)
PLAIN = (str, bool, int, dict, type(None))


class Twice(Exception):
    """A key that counts stands twice in an object; its argument is the key."""


class _StandIn(type):
    """The type of one field, for which every value that the hook lets through is right."""

    key: str
    hint: Any
    plain: frozenset[type]

    # Always true, and no step in Python for each field of each call.
    __instancecheck__ = id  # type: ignore[assignment]


def decoder(kind: type[T]) -> Callable[[bytes | str], T]:
    """
    A decoder of JSON objects into `kind`, whose fields all have a default. For one thread.

    Raises `Twice`, else what msgspec raises for the same bytes. Keys deeper inside are not looked at.
    """
    heard: set[_StandIn] = set()

    def hear(stand_in: Any, value: Any) -> Any:
        if stand_in in heard:
            raise Twice(stand_in.key)
        heard.add(stand_in)
        if type(value) in stand_in.plain:
            return value
        return msgspec.convert(value, stand_in.hint)

    read, read_plainly = (
        msgspec.json.Decoder(_twin(kind), dec_hook=hear).decode,
        msgspec.json.Decoder(kind).decode,
    )

    def decode(body: bytes | str) -> T:
        heard.clear()
        try:
            return read(body)
        except msgspec.ValidationError:
            read_plainly(body)  # says in which field
            raise

    return decode


def _twin(kind: type[T]) -> type[T]:
    fields = [
        (field.name, _stand_in(field.name, field.type), field.default)
        for field in msgspec.structs.fields(kind)
    ]
    twin: Any = msgspec.defstruct(kind.__name__, fields, bases=(kind,))
    return twin  # type: ignore[no-any-return]


def _stand_in(key: str, hint: Any) -> _StandIn:
    names = {"key": key, "hint": hint, "plain": _plain(hint)}
    return _StandIn(key, (), names)


def _plain(hint: Any) -> frozenset[type]:
    """The types of values that need no further check."""
    kinds = [get_origin(one) or one for one in get_args(hint) or (hint,)]
    return frozenset(kind for kind in kinds if kind in PLAIN)
