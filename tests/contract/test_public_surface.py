"""What plugins, clients and configurations may depend on changes on purpose only: reviewed, and told in the changelog."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import subprocess
import sys
import typing
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

import oqto_platform
from oqto_platform import hookspecs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def surface():
    spec = importlib.util.spec_from_file_location("oqto_surface", ROOT / "tools" / "surface.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_surface_is_as_it_was_reviewed():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "surface.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"\n{done.stdout}{done.stderr}"


HOOKS = "hook spawn(session: Session, plan: SpawnPlan) -> SpawnPlan [fold, 10 s, runner]\n"


@pytest.mark.parametrize(
    "changed",
    [
        HOOKS.replace("session: Session, plan: SpawnPlan", "plan: SpawnPlan, session: Session"),
        HOOKS.replace("spawn(", "sprout("),
        HOOKS.replace("10 s", "1 s"),
        HOOKS.replace("fold", "collect"),
        "",
    ],
    ids=["order of arguments", "name", "time-out", "mode", "gone"],
)
def test_every_kind_of_change_is_seen(surface, changed):
    found = surface.differences({"hooks.txt": HOOKS}, {"hooks.txt": changed})
    assert f"-{HOOKS.strip()}" in found
    assert surface.differences({"hooks.txt": HOOKS}, {"hooks.txt": HOOKS}) == []


@pytest.mark.parametrize(
    ("line", "told", "is_told"),
    [
        ("+hook spawn(session) [fold]", "`spawn` gets …", True),
        ("+hook spawn(session) [fold]", "spawn without backticks", False),
        ("+hook session_spawn(session)", "`spawn`", False),
        ("+key sessions.idle_timeout_minutes: int = 30", "`sessions.idle_timeout_minutes` …", True),
        ("+key sessions.idle_timeout_minutes: int = 30", "`idle_timeout_minutes` …", True),
        ("+key sessions.idle_timeout_minutes_more: int = 30", "`idle_timeout_minutes` …", False),
        ("-command oqtoctl plugins reset", "`oqtoctl plugins reset` is gone", True),
        ("+command oqtoctl plugins reset --all", "`oqtoctl plugins reset` …", True),
        ("+command oqtoctl plugins reset", "`oqtoctl` …", False),
        ("+hook sprout(session: Session)", "the fixture `session` …", False),
        ("+oqto_platform.types.Panel.height: int = 0", "`Panel` …", True),
        ("+oqto_platform.types.Panel.height: int = 0", "`oqto_platform.types.Panel` …", True),
        ("+oqto_platform.types.Panels.height: int = 0", "`Panel` …", False),
        ("+key eavs.workers: int = 1, restart", "`[eavs] workers` …", True),
        ("+request runner.hooks", "`runner.hooks` …", True),
        (
            "+route POST /api/admin/plugins/{plugin:str}/reset [admin]",
            "`/api/admin/plugins/{plugin:str}/reset`",
            True,
        ),
    ],
)
def test_what_differs_from_a_release_is_named_in_the_changelog(surface, line, told, is_told):
    changelog = f"# Changelog\n\n## [Unreleased]\n\n- {told}\n\n## [1.0.0]\n\n- `everything`\n"
    assert (surface.untold([line], changelog) == []) == is_told


@pytest.mark.parametrize(("told", "code"), [("nothing", 1), ("`sprout` is new", 0)])
def test_what_nobody_tells_fails_before_the_first_release_too(
    surface, told, code, tmp_path, monkeypatch, capsys
):
    released = surface.kept(surface.RELEASED)
    assert released.keys() == surface.kept(surface.SURFACE).keys()
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text(
        f"{surface.CHANGELOG.read_text().replace('## [Unreleased]', f'## [Unreleased]{chr(10)}- {told}')}"
    )
    monkeypatch.setattr(surface, "CHANGELOG", changelog)
    now = surface.kept(surface.SURFACE)
    now["hooks.txt"] += "hook sprout(session: Session) -> None [notify, 5 s, runner]\n"
    assert surface.tell(now) == code
    assert ("+hook sprout" in capsys.readouterr().out) == bool(code)


def test_the_keys_of_our_plugins_are_there(surface):
    lines = (surface.SURFACE / "config.txt").read_text()
    for key in (
        "key eavs.providers.NAME.base_url: str",
        "sandbox key network.mode: choice",
        "variable OQTO_CONFIG\n",
    ):
        assert key in lines


def test_every_surface_has_its_file_and_its_row_in_the_promise(surface):
    page = (ROOT / "docs" / "reference" / "stability.md").read_text()
    named = set(re.findall(r"`surface/(\w+)\.txt`", page))
    assert named == set(surface.SURFACES) == {path.stem for path in surface.SURFACE.glob("*.txt")}


def types_in(hint: object) -> set[type]:
    """The types of ours that a hint names, and those of the fields of Structs and the methods of protocols among them."""
    found: set[type] = set()
    waiting = [hint]
    while waiting:
        one = waiting.pop()
        waiting += typing.get_args(one)
        if (
            not getattr(one, "__module__", "").startswith("oqto")
            or one in found
            or isinstance(one, typing.TypeVar)
        ):
            continue
        found.add(one)
        if inspect.isclass(one):
            waiting += hints_of(one)
    return found


def hints_of(kind: type) -> list[object]:
    from oqto_platform import canon

    if issubclass(kind, msgspec.Struct):
        return list(typing.get_type_hints(kind).values())
    functions = (member.fget if isinstance(member, property) else member for member in vars(kind).values())
    known = {**vars(sys.modules[kind.__module__]), "Event": canon.Event, "Mapping": Mapping}
    return [
        hint
        for function in functions
        if inspect.isfunction(function) and not function.__name__.startswith("_")
        for hint in typing.get_type_hints(function, globalns=known).values()
    ]


@pytest.mark.parametrize(
    "hook", [name for name, value in vars(hookspecs).items() if hasattr(value, "policy")]
)
def test_a_hook_asks_for_no_type_that_its_author_cannot_import(hook):
    needed = set().union(*map(types_in, typing.get_type_hints(getattr(hookspecs, hook)).values()))
    private = {
        kind.__name__
        for kind in needed
        if kind.__name__ not in oqto_platform.__all__
        and not kind.__module__.startswith("oqto_platform.canon")
    }
    assert not private


def test_what_a_plugin_imports_is_what_a_type_checker_sees():
    """The names are loaded when they are asked for, so they are written down twice."""
    tree = ast.parse(Path(oqto_platform.__file__).read_text())
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = sorted(alias.name for node in guarded.body for alias in node.names)
    assert seen == sorted(oqto_platform.__all__)


def test_every_name_of_the_package_is_there():
    for name in oqto_platform.__all__:
        assert getattr(oqto_platform, name).__module__.startswith("oqto_platform") or name == "hookimpl"
