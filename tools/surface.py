"""
Write down everything that plugins, clients and configurations may depend on: one line for each fact.

The files in `tests/contract/surface/` are reviewed with the change that changes them; docs/reference/stability.md says what
is promised. `--check` changes nothing, shows what is new and what is gone, and fails when there is any. `--release`
keeps the surface of a release: from then on whatever differs from it must be named in the changelog. Until the first
release that of the day is kept on which this rule began.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import os
import re
import sys
import tempfile
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SURFACE = ROOT / "tests" / "contract" / "surface"
RELEASED = SURFACE / "released"
CHANGELOG = ROOT / "CHANGELOG.md"

sys.path.insert(0, str(ROOT / "docs"))

Lines = Iterator[str]


def names() -> Lines:
    """What may be imported: constants, functions, fields in their order, methods with their arguments."""
    from oqto_runner import harness

    import oqto_platform
    from oqto_platform import canon, children, errors, settings, testing, types
    from oqto_platform.testing import fixtures

    for exported in oqto_platform.__all__:
        yield f"oqto_platform {exported}"
    for module in (types, settings, errors, harness):
        yield from _module(module)
    yield from _described("oqto_platform.Child", children.Child)
    for exported in sorted(kind.__name__ for kind in typing.get_args(canon.Event | canon.Command)):
        yield f"oqto_platform.canon {exported}"
    for exported in testing.__all__:
        yield from _described(f"oqto_platform.testing.{exported}", getattr(testing, exported))
    for fixture in sorted(vars(fixtures)):
        if type(getattr(fixtures, fixture)).__name__ == "FixtureFunctionDefinition":
            yield f"fixture {fixture}"


def _module(module: Any) -> Lines:
    for public, value in vars(module).items():
        is_ours = getattr(value, "__module__", module.__name__) == module.__name__
        if (
            not public.startswith("_")
            and is_ours
            and not inspect.ismodule(value)
            and public not in dir(typing)
        ):
            yield from _described(f"{module.__name__}.{public}", value)


def _described(where: str, value: Any) -> Lines:
    if not inspect.isclass(value):
        yield f"{where}{_signature(value)}" if inspect.isfunction(value) else where
        return
    yield where
    for field in getattr(value, "__struct_fields__", ()):
        yield f"{where}.{field}: {_annotation(value, field)}{_default(value, field)}"
    for member, found in vars(value).items():
        if member.startswith("_") or member in getattr(value, "__struct_fields__", ()):
            continue
        if inspect.isfunction(found):
            yield f"{where}.{member}{_signature(found)}"
        elif isinstance(found, (property, str | int | tuple)):
            yield f"{where}.{member}" + (f" = {found!r}" if not isinstance(found, property) else "")


def _signature(function: Any) -> str:
    return str(inspect.signature(function)).replace("'", "")


def _annotation(kind: type, name: str) -> str:
    return next(
        str(base.__annotations__[name])
        for base in kind.__mro__
        if name in vars(base).get("__annotations__", {})
    )


def _default(kind: Any, name: str) -> str:
    import msgspec

    field = next(field for field in msgspec.structs.fields(kind) if field.name == name)
    if isinstance(field.default, msgspec.Struct):
        return f" = {type(field.default).__name__}(…)"
    if field.default is not msgspec.NODEFAULT:
        return f" = {re.sub(' at 0x[0-9a-f]+', '', repr(field.default))}"
    return "" if field.default_factory is msgspec.NODEFAULT else " = …"


def hooks() -> Lines:
    """Each hook with arguments in their order, mode, time-out, sides and marks."""
    from oqto_platform import hookspecs

    for hook, spec in vars(hookspecs).items():
        if (policy := getattr(spec, "policy", None)) is None:
            continue
        marks = [policy.mode.value, f"{policy.timeout_s:g} s", "+".join(policy.sides)]
        marks += ["one answerer"] if policy.one_answerer else []
        marks += [f"deprecated: {policy.deprecated}"] if policy.deprecated else []
        marks += [f"{argument} deprecated: {text}" for argument, text in policy.deprecated_arguments.items()]
        yield f"hook {hook}{_signature(spec)} [{', '.join(marks)}]"


def wire() -> Lines:
    """Every message between browser, core and runner, and what is in it, with fields in their order."""
    from oqto_platform import canon, errors
    from oqto_platform import wire as between

    unions = {
        "request": between.Request,
        "reply": between.Reply,
        "command": canon.Command,
        "event": canon.Event,
    }
    for kind, union in unions.items():
        for message in typing.get_args(union):
            for line in _described(f"{kind} {message.__struct_config__.tag}", message):
                yield line if line.startswith(f"{kind} ") else f"{kind} {line}"
    yield from (f"event agent.error.code of a model: {code}" for code in canon.MODEL_FAILURES)
    yield from _described("problem", errors.Problem)
    for part in sorted(_parts(tuple(unions.values())), key=lambda kind: kind.__name__):
        yield from _described(f"part {part.__name__}", part)


def _parts(hint: Any) -> set[Any]:
    """The Structs inside messages that are described nowhere else."""
    import msgspec

    from oqto_platform import types

    found: set[Any] = set()
    waiting = list(hint)
    while waiting:
        one = waiting.pop()
        waiting += typing.get_args(one)
        if inspect.isclass(one) and issubclass(one, msgspec.Struct) and one not in found:
            found.add(one)
            waiting += typing.get_type_hints(one).values()
    return {kind for kind in found if not kind.__struct_config__.tag and kind.__module__ != types.__name__}


def config() -> Lines:
    """Every key of core and plugins with type and default, those of sandbox.toml, and the environment variables."""
    from generators.config import of_plugins
    from oqto_plugin_sandbox.policy import schema

    from oqto_platform.config.sections import CORE

    for section, kind in (CORE | of_plugins()).items():
        yield from _keys(section, kind)
    for name, key in schema.KEYS.items():
        choices = f" of {', '.join(key.choices)}" if key.choices else ""
        yield f"sandbox key {name}: {key.kind}{choices}, from {key.who}"
    page = (ROOT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
    for row in re.findall(r"^\| (`[A-Z].*?) \|", page, re.MULTILINE):
        yield from (f"variable {name}" for name in re.findall(r"`([^`]+)`", row))


def _keys(section: str, kind: Any) -> Lines:
    """The keys of a section; those of the sections in a table or list come after it, as `NAME` or `[]`."""
    from oqto_platform.config import keys

    for key in keys.leaves(section, kind):
        restart = ", restart" if key.restart else ""
        needs = f", needs {key.needs}" if key.needs else ""
        yield f"key {key.name}: {_short(key.hint)}{_key_default(key.default)}{restart}{needs}"
        if keys.is_section(inner := keys.element(key.hint)):
            mark = "[]" if typing.get_origin(key.hint) is tuple else ".NAME"
            yield from _keys(f"{key.name}{mark}", inner)


def _key_default(value: Any) -> str:
    import msgspec

    return "" if value is msgspec.NODEFAULT else f" = {value!r}"


def _short(hint: Any) -> str:
    return hint.__name__ if inspect.isclass(hint) else str(hint).replace("typing.", "")


def commands() -> Lines:
    """Every program and command with its arguments and options."""
    from generators import cli

    for block, text in cli.blocks().items():
        command = block.removeprefix("command ")
        yield f"command {command}"
        for option in re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE):
            yield f"command {command} {option}"


def routes() -> Lines:
    """Every HTTP route of the core with who may use it, and the names that handlers may ask for."""
    from oqto_platform.app import MODULES
    from oqto_platform.contributions import DEPENDENCIES, ROUTES

    handlers = [handler for module in MODULES for handler in module.HANDLERS]
    for handler in handlers:
        door = "public" if handler.opt.get("public") else "admin" if handler.opt.get("admin") else "signed in"
        for path in handler.paths:
            yield f"route {' '.join(sorted(handler.http_methods - {'OPTIONS'}))} {path} [{door}]"
    yield f"prefix {ROUTES}/NAME"
    yield from (f"dependency {name}" for name in DEPENDENCIES)


def panels() -> Lines:
    """The contract of panels, as the user interface publishes it, without its comments."""
    text = (ROOT / "frontend" / "src" / "panels" / "contract.ts").read_text(encoding="utf-8")
    bare = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
    for declaration in re.findall(
        r"^export (?:interface .*?^\}|(?:type|const) .*?;)$", bare, re.DOTALL | re.MULTILINE
    ):
        head, *body = [line.strip() for line in declaration.splitlines() if line.strip()]
        what = " ".join(head.removesuffix("{").split())
        yield f"panel {what}"
        title = what.split("=")[0].split("extends")[0].split()[-1]
        yield from (f"panel {title} {line}" for line in body if line != "}")


SURFACES: dict[str, Callable[[], Lines]] = {
    "names": names,
    "hooks": hooks,
    "wire": wire,
    "config": config,
    "commands": commands,
    "routes": routes,
    "panels": panels,
}


def current() -> dict[str, str]:
    """File name to text. What is written down must not depend on who writes it."""
    for name in [name for name in os.environ if name.startswith(("OQTO", "XDG_"))]:
        del os.environ[name]
    os.environ |= {"HOME": tempfile.gettempdir(), "OQTO_PLUGINS": "none"}
    return {f"{name}.txt": "\n".join(source()) + "\n" for name, source in SURFACES.items()}


def kept(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))}


def differences(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Lines that are gone (`-`) and new ones (`+`), a change of order among them."""
    found = []
    for file in sorted(before.keys() | now.keys()):
        old, new = before.get(file, "").splitlines(), now.get(file, "").splitlines()
        found += [line for line in difflib.unified_diff(old, new, file, file, lineterm="", n=0) if line[:2] not in ("--", "++", "@@")]  # fmt: skip
    return found


def untold(changed: list[str], changelog: str) -> list[str]:
    """Of lines that differ from the last release those that `Unreleased` does not name in backticks."""
    section = changelog.partition("## [Unreleased]")[2].partition("\n## [")[0]
    told = set(re.findall(r"`([^`]+)`", section))
    return [line for line in changed if not any(_names(name, line) for name in told)]


def _names(name: str, line: str) -> bool:
    """Whether `name` is that of the line's fact or, given in full or as a type, of what it belongs to."""
    words = re.split(r"[ .]", re.split(r"\(| \[|: | = ", line[1:])[0])
    told = re.split(r"[ .]", re.sub(r"^\[+(.+?)\]+ ?", r"\1.", name).rstrip("."))
    if words[-len(told) :] == told:
        return True
    is_whole = len(told) > 1 or told[0][:1].isupper()
    return is_whole and any(words[at : at + len(told)] == told for at in range(len(words)))


def write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def check() -> int:
    now = current()
    if changed := differences(kept(SURFACE), now):
        print("\n".join(changed))
        print("\nThe public surface has changed, and its snapshot has not. If that is meant: python tools/surface.py, look at "
              "the difference, commit it, and say in CHANGELOG.md under Unreleased what changes for whom. What is "
              "gone or changed breaks plugins: deprecate it first (docs/reference/stability.md).")  # fmt: skip
        return 1
    return tell(now)


def tell(now: dict[str, str]) -> int:
    """Say what the changelog keeps quiet about; 1 when that is anything."""
    if missing := untold(differences(kept(RELEASED), now), CHANGELOG.read_text(encoding="utf-8")):
        print("\n".join(missing))
        print("\nThis differs from what is released. Name each in backticks in CHANGELOG.md under Unreleased; the name of a type, "
              "a section, a command or a message is enough for all that is new in it.")  # fmt: skip
    return 1 if missing else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/surface.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when something differs")
    parser.add_argument("--release", action="store_true", help="keep the surface as that of a release")
    arguments = parser.parse_args()
    if arguments.check:
        return check()
    write(RELEASED if arguments.release else SURFACE, now := current())
    return tell(now)


if __name__ == "__main__":
    sys.exit(main())
