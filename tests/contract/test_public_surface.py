"""What plugins, clients and configurations may depend on changes on purpose only: reviewed, and told in the changelog."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    ],
)
def test_what_differs_from_a_release_is_named_in_the_changelog(surface, line, told, is_told):
    changelog = f"# Changelog\n\n## [Unreleased]\n\n- {told}\n\n## [1.0.0]\n\n- `everything`\n"
    assert (surface.untold([line], changelog) == []) == is_told


def test_every_surface_has_its_file_and_its_row_in_the_promise(surface):
    page = (ROOT / "docs" / "reference" / "stability.md").read_text()
    named = set(re.findall(r"`surface/(\w+)\.txt`", page))
    assert named == set(surface.SURFACES) == {path.stem for path in surface.SURFACE.glob("*.txt")}


def test_every_name_of_the_package_is_there():
    import oqto_platform

    for name in oqto_platform.__all__:
        assert getattr(oqto_platform, name).__module__.startswith("oqto_platform") or name == "hookimpl"
