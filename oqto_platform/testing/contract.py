"""
The suite that every plugin passes, ours and a stranger's.

    from oqto_platform.testing import PluginContract

    class TestContract(PluginContract):
        plugin = "curfew"

Each test is a rule. The plugin is loaded as it is installed, each side in a process of its own, and lives through everything that
the house would do with it; what it does in a real server is for its own tests, with the fixtures `oqto` and `session`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from oqto_platform.testing.inspection import Report

SIDES = ("core", "runner")
TIMEOUT_S = 180.0
TRIES = 3
"""On a busy machine something may take long once; a plugin that is slow is slow each time."""


class PluginContract:
    """Derive a class from it and name your plugin. Rules about what the plugin does not have pass."""

    plugin: ClassVar[str] = ""
    """The name of the entry point."""

    settings: ClassVar[Mapping[str, Any]] = {}
    """Keys of its section for this suite, such as a free port."""

    public_routes: ClassVar[tuple[str, ...]] = ()
    """Routes that are meant to be open to strangers: `"POST /api/plugins/curfew/hook"`."""

    @pytest.fixture
    def reports(self, tmp_path_factory: pytest.TempPathFactory) -> list[Report]:
        """What was found on each side that the plugin has."""
        assert self.plugin, f'{type(self).__name__} names no plugin: plugin = "your-entry-point"'
        return _inspected(type(self), self.settings, tmp_path_factory)

    def test_it_is_installed(self) -> None:
        """An entry point in `oqto.core` or `oqto.runner` has the plugin's name."""
        names = {entry.name for side in SIDES for entry in entry_points(group=f"oqto.{side}")}
        assert self.plugin in names, (
            f'no entry point {self.plugin!r} in [project.entry-points."oqto.core"] or "oqto.runner" of what is '
            f"installed here ({', '.join(sorted(names))}); install the plugin: pip install -e ."
        )

    def test_it_loads(self, reports: list[Report]) -> None:
        """It imports; its hooks exist, are spelled right, on the right side, and none is a wrapper."""
        _assert_kept(reports, "loads")

    def test_it_loads_quickly(self, reports: list[Report]) -> None:
        """Every command of `oqtoctl` and every start of a server waits for it."""
        _assert_kept(reports, "quick")

    def test_the_runner_side_is_light(self, reports: list[Report]) -> None:
        """There is a runner for each person; the web framework and the database stay out."""
        _assert_kept(reports, "light")

    def test_its_section_is_valid_and_described(self, reports: list[Report]) -> None:
        """Defaults are valid, every key says what it means, unknown keys are refused."""
        _assert_kept(reports, "section")

    def test_its_tables_are_its_own(self, reports: list[Report]) -> None:
        """Migrations run from nothing, make what the models say, and only tables with its prefix."""
        _assert_kept(reports, "tables")

    def test_its_routes_are_its_own_and_guarded(self, reports: list[Report]) -> None:
        """Under `/api/plugins/NAME`; who is not signed in gets in only where the class says so."""
        _assert_kept(reports, "routes")
        opened = {route for report in reports for route in report.public_routes}
        assert opened == set(self.public_routes), (
            "routes open to strangers; name them in public_routes if they are to be"
        )

    def test_its_panels_are_there(self, reports: list[Report]) -> None:
        """The module is a file of the folder `static` and defines the element."""
        _assert_kept(reports, "panels")

    def test_its_jobs_have_names_of_their_own(self, reports: list[Report]) -> None:
        """No two have one name, and each has a pause."""
        _assert_kept(reports, "jobs")

    def test_its_hooks_answer_as_they_should(self, reports: list[Report]) -> None:
        """No hook raises or hangs, also for sessions that it has never heard of; answers have the right type."""
        _assert_kept(reports, "life")

    def test_it_does_not_change_what_it_is_given(self, reports: list[Report]) -> None:
        """Arguments stay as they were."""
        _assert_kept(reports, "mutation")

    def test_it_keeps_the_plan(self, reports: list[Report]) -> None:
        """`spawn` adds and takes nothing away, `confine` keeps the folder and says by what it confines."""
        _assert_kept(reports, "plan")

    def test_what_comes_twice_means_the_same(self, reports: list[Report]) -> None:
        """`session_stopped` and `budget_settle` may come again."""
        _assert_kept(reports, "repetition")

    def test_it_does_not_block(self, reports: list[Report]) -> None:
        """No hook holds the event loop for 50 ms: everybody's text would stand still."""
        slow = {f"{hook} ({s * 1e3:.0f} ms)" for report in reports for hook, s in report.blocking.items()}
        assert not slow, (
            f"hooks that block: {', '.join(sorted(slow))}; await the work, or use asyncio.to_thread"
        )

    def test_it_leaves_nothing_behind(self, reports: list[Report]) -> None:
        """After `shutdown` no task, thread, socket, file, process or variable is left."""
        _assert_kept(reports, "leftovers")


def _assert_kept(reports: list[Report], rule: str) -> None:
    broken = [f"{report.side}: {text}" for report in reports for text in report.found.get(rule, ())]
    assert not broken, "\n".join(broken)


_known: dict[type[PluginContract], list[Report] | str] = {}
"""The reports of each class, or why there are none."""


def _inspected(
    contract: type[PluginContract], settings: Mapping[str, Any], folders: pytest.TempPathFactory
) -> list[Report]:
    """The reports of a contract class, made once: each test of it looks at the same ones."""
    if contract not in _known:
        try:
            _known[contract] = [
                _inspect(contract.plugin, side, settings, folders) for side in _sides(contract.plugin)
            ]
        except _InspectionFailed as exc:
            _known[contract] = str(exc)
    found = _known[contract]
    if isinstance(found, str):
        pytest.fail(found, pytrace=False)
    return found


class _InspectionFailed(Exception):
    """The process ended without a report; its last words."""


def _sides(plugin: str) -> Iterator[str]:
    for side in SIDES:
        if any(entry.name == plugin for entry in entry_points(group=f"oqto.{side}")):
            yield side


def _inspect(plugin: str, side: str, settings: Mapping[str, Any], folders: pytest.TempPathFactory) -> Report:
    """Inspect until nothing was slow by chance."""
    report = _inspect_once(plugin, side, settings, folders.mktemp(f"{plugin}-{side}"))
    for _ in range(TRIES - 1):
        if not report.blocking and "quick" not in report.found:
            break
        again = _inspect_once(plugin, side, settings, folders.mktemp(f"{plugin}-{side}"))
        again.blocking = {hook: s for hook, s in again.blocking.items() if hook in report.blocking}
        report = again
    return report


def _inspect_once(plugin: str, side: str, settings: Mapping[str, Any], root: Path) -> Report:
    argv = [sys.executable, "-m", "oqto_platform.testing.inspection", plugin, side, str(root)]
    argv += ["--settings", msgspec.json.encode(dict(settings)).decode()]
    done = subprocess.run(argv, capture_output=True, timeout=TIMEOUT_S, check=False)
    said = done.stderr.decode(errors="replace")
    if done.returncode:
        raise _InspectionFailed(
            f"the {side} side of {plugin} ended the inspection ({done.returncode}):\n{said[-4000:]}"
        )
    sys.stderr.write(said)
    return msgspec.json.decode(done.stdout, type=Report)
