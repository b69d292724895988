"""Write the TypeScript types of what crosses the border from the msgspec Structs that define it.

    python tools/gen_types.py            writes frontend/src/api/types.gen.ts
    python tools/gen_types.py --check    exits 1 when that file is stale

Taken in: the canonical events, commands and messages, `Problem`, and every public Struct of the
`schemas.py` files of `oqto_platform`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect as mi

import oqto_platform
from oqto_platform import canon
from oqto_platform.errors import Problem

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "frontend/src/api/types.gen.ts"
HEADER = "// Written by tools/gen_types.py from the msgspec Structs of oqto_platform. Do not edit.\n"
UNIONS = {
    "Event": canon.Event,
    "Command": canon.Command,
    "Part": canon.Part,
    "InputRequest": canon.InputRequest,
}
ALIASES = {
    "StopCause": canon.StopCause,
    "ToolStatus": canon.ToolStatus,
    "Phase": canon.Phase,
    "ModelFailure": canon.ModelFailure,
}
SIMPLE: dict[type[mi.Type], str] = {
    mi.AnyType: "unknown",
    mi.NoneType: "null",
    mi.BoolType: "boolean",
    mi.IntType: "number",
    mi.FloatType: "number",
    mi.StrType: "string",
    mi.BytesType: "string",
    mi.DateTimeType: "string",
    mi.UUIDType: "string",
    mi.DecimalType: "string",
}


def main() -> int:
    """Write the file, or compare it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only compare, exit 1 when stale")
    arguments = parser.parse_args()
    text = render()
    if not arguments.check:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    print(f"{TARGET.relative_to(ROOT)} is stale: run python tools/gen_types.py", file=sys.stderr)
    return 1


def render() -> str:
    """The whole file."""
    structs = _named(_reachable([*UNIONS.values(), canon.Message, Problem, *_views()]))
    aliases = [f"export type {name} = {_literals(kind)};" for name, kind in ALIASES.items()]
    unions = [f"export type {name} = {' | '.join(_names(kind))};" for name, kind in UNIONS.items()]
    interfaces = [_interface(name, structs[name]) for name in sorted(structs)]
    return HEADER + "\n" + "\n".join([*aliases, *unions]) + "\n\n" + "\n\n".join(interfaces) + "\n"


def _named(infos: Iterable[mi.StructType]) -> dict[str, mi.StructType]:
    """By name. A request body may be called like a command (`NewSession`): the body gets the longer name."""
    named: dict[str, mi.StructType] = {}
    for info in sorted(
        infos, key=lambda info: (not info.cls.__module__.startswith(canon.__name__), info.cls.__name__)
    ):
        name = info.cls.__name__
        if name in named:
            name += "Body"
        assert name not in named, f"two Structs are called {name}"
        named[name] = info
        _names_of[info.cls] = name
    return named


_names_of: dict[type, str] = {}


def _views() -> Iterator[type[msgspec.Struct]]:
    folder = Path(oqto_platform.__file__).parent
    for path in sorted(folder.rglob("schemas.py")):
        dotted = ".".join(("oqto_platform", *path.relative_to(folder).with_suffix("").parts))
        module = importlib.import_module(dotted)
        for name, value in sorted(vars(module).items()):
            if _is_view(value) and value.__module__ == dotted and not name.startswith("_"):
                yield value


def _is_view(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, msgspec.Struct)


def _reachable(kinds: Iterable[Any]) -> Iterator[mi.StructType]:
    seen: set[type] = set()
    waiting = [mi.type_info(kind) for kind in kinds]
    while waiting:
        info = waiting.pop()
        if isinstance(info, mi.StructType):
            if info.cls in seen:
                continue
            seen.add(info.cls)
            yield info
        waiting += _inside(info)


def _inside(info: mi.Type) -> list[mi.Type]:
    match info:
        case mi.StructType():
            return [field.type for field in info.fields]
        case mi.UnionType():
            return list(info.types)
        case mi.DictType():
            return [info.value_type]
        case mi.TupleType():
            return list(info.item_types)
        case mi.CollectionType():
            return [info.item_type]
    return []


def _interface(name: str, info: mi.StructType) -> str:
    lines = [f"export interface {name} {{"]
    if info.tag_field is not None:
        lines.append(f"  {info.tag_field}: {json.dumps(info.tag)};")
    for field in info.fields:
        mark = "" if field.required else "?"
        lines.append(f"  {field.encode_name}{mark}: {_spell(field.type)};")
    return "\n".join([*lines, "}"])


def _spell(info: mi.Type) -> str:
    match info:
        case mi.LiteralType():
            return " | ".join(json.dumps(value) for value in sorted(info.values, key=str))
        case mi.EnumType():
            return " | ".join(json.dumps(member.value) for member in info.cls)
        case mi.StructType():
            return _names_of[info.cls]
        case mi.UnionType():
            return " | ".join(_spell(kind) for kind in info.types)
        case mi.DictType():
            return f"Record<string, {_spell(info.value_type)}>"
        case mi.TupleType():
            return f"[{', '.join(_spell(kind) for kind in info.item_types)}]"
        case mi.CollectionType():
            return f"Array<{_spell(info.item_type)}>"
    return SIMPLE[type(info)]


def _literals(kind: Any) -> str:
    return _spell(mi.type_info(kind))


def _names(kind: Any) -> list[str]:
    info = mi.type_info(kind)
    assert isinstance(info, mi.UnionType)
    return [_spell(member) for member in info.types]


if __name__ == "__main__":
    raise SystemExit(main())
