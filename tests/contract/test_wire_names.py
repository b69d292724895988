"""
Golden files of everything that crosses a process border: kinds, field names, and how they look in JSON.

Browsers and runners of another version read these names. To change one on purpose, delete the golden file and run
the test once: it writes the file anew, and the difference is reviewed.
"""

from __future__ import annotations

import json
import types
import typing
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from oqto_platform import canon, errors, wire
from oqto_platform.canon import message

GOLDEN = Path(__file__).parent / "golden"

KINDS: dict[str, Any] = {
    "requests": wire.Request,
    "replies": wire.Reply,
    "commands": canon.Command,
    "events": canon.Event,
    "parts": message.Part,
    "input_requests": canon.InputRequest,
}


def sample(hint: Any, name: str) -> Any:
    """A value of the type, filled in every field; texts are the name of their field."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return sample(arguments[0], name)
    if hasattr(hint, "__supertype__"):
        return sample(hint.__supertype__, name)
    if origin is Literal:
        return arguments[0]
    if isinstance(hint, types.UnionType) or origin is typing.Union:
        return sample(next(option for option in arguments if option is not type(None)), name)
    if origin in (list, tuple):
        items = [sample(arguments[0], name)]
        return origin(items)
    if origin is not None and issubclass(origin, typing.Mapping):
        return {"key": sample(arguments[1], name)}
    if hint is msgspec.Raw:
        return msgspec.Raw(b'{"raw":true}')
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return instance(hint)
    return {str: name, int: 1, float: 1.5, bool: True, Any: {"any": "thing"}}[hint]


def instance(kind: type[msgspec.Struct]) -> Any:
    hints = typing.get_type_hints(kind)
    return kind(**{field.name: value_of(hints[field.name], field) for field in msgspec.structs.fields(kind)})


def value_of(hint: Any, field: msgspec.structs.FieldInfo) -> Any:
    value = sample(hint, field.name)
    # With `omit_defaults` a value that equals its default would not show its name.
    if value != field.default:
        return value
    if typing.get_origin(hint) is Literal:
        return typing.get_args(hint)[-1]
    return not value if hint is bool else value


def pictured(union: Any) -> dict[str, Any]:
    return {
        str(kind.__struct_config__.tag): json.loads(msgspec.json.encode(instance(kind)))
        for kind in typing.get_args(union)
    }


@pytest.mark.parametrize("name", [*KINDS, "problem"])
def test_the_names_on_the_wire_stay_as_they_are(name):
    shown = (
        {"problem": json.loads(msgspec.json.encode(instance(errors.Problem)))}
        if name == "problem"
        else pictured(KINDS[name])
    )
    file = GOLDEN / f"{name}.json"
    if not file.exists():
        file.write_text(json.dumps(shown, indent=1, sort_keys=True) + "\n")
        pytest.fail(f"{file.name} was not there; it is written now, review and commit it")
    assert shown == json.loads(file.read_text())


@pytest.mark.parametrize("name", KINDS)
def test_every_field_shows_on_the_wire(name):
    """A sample that hides a default would let a rename pass unseen."""
    for kind in typing.get_args(KINDS[name]):
        shown = json.loads(msgspec.json.encode(instance(kind)))
        config = kind.__struct_config__
        hints = typing.get_type_hints(kind)
        expected = {f.encode_name for f in msgspec.structs.fields(kind) if not is_constant(hints[f.name])}
        assert set(shown) == expected | {config.tag_field}, kind.__name__


def is_constant(hint: Any) -> bool:
    return typing.get_origin(hint) is Literal and len(typing.get_args(hint)) == 1


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_survives_the_way_there_and_back(name):
    decoder = msgspec.json.Decoder(KINDS[name])
    for kind in typing.get_args(KINDS[name]):
        value = instance(kind)
        back = decoder.decode(msgspec.json.encode(value))
        assert type(back) is kind
        assert msgspec.to_builtins(back, enc_hook=bytes) == msgspec.to_builtins(value, enc_hook=bytes)


@pytest.mark.parametrize("name", KINDS)
def test_a_newer_peer_may_add_fields_but_not_kinds(name):
    decoder = msgspec.json.Decoder(KINDS[name])
    for kind in typing.get_args(KINDS[name]):
        shown = json.loads(msgspec.json.encode(instance(kind))) | {"of_the_future": {"deep": [1]}}
        assert type(decoder.decode(json.dumps(shown))) is kind
        with pytest.raises(msgspec.ValidationError, match="Invalid value"):
            decoder.decode(json.dumps(shown | {kind.__struct_config__.tag_field: "of.the_future"}))
