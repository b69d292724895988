"""One side of one plugin: load it, let it live, print the report."""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec

from oqto_platform.errors import OqtoError
from oqto_platform.hooks import Hooks
from oqto_platform.settings import Settings
from oqto_platform.testing.inspection import Report, loading


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m oqto_platform.testing.inspection", description=__doc__)
    parser.add_argument("plugin")
    parser.add_argument("side", choices=("core", "runner"))
    parser.add_argument("root", type=Path, help="an empty folder")
    parser.add_argument("--settings", default="{}", help="values of the plugin's section, in JSON")
    arguments = parser.parse_args()
    report = Report(plugin=arguments.plugin, side=arguments.side)
    # Plugins print; the report is the only thing on the real standard output.
    out = os.dup(1)
    os.dup2(2, 1)
    inspect(report, arguments.root, msgspec.json.decode(arguments.settings))
    os.write(out, msgspec.json.encode(report))


def inspect(report: Report, root: Path, values: dict[str, Any]) -> None:
    """Fill `report`."""
    places = {name: _folder(root / name) for name in ("cwd", "tmp", "home")}
    os.chdir(places["cwd"])
    os.environ |= {"TMPDIR": str(places["tmp"]), "HOME": str(places["home"])}
    if (hooks := loading.load(report)) is None:
        return
    from oqto_platform.testing.inspection import section

    if (settings := section.settings_for(report, hooks, values)) is None:
        return
    asyncio.run(_live(report, hooks, settings, root))
    _look_around(report, places)


async def _live(report: Report, hooks: Hooks, settings: Settings, root: Path) -> None:
    from oqto_platform.testing.inspection import leftovers
    from oqto_platform.testing.inspection.context import InspectedContext
    from oqto_platform.testing.inspection.life import Life

    db = _database(report, hooks, root) if report.side == "core" else None
    context = InspectedContext(report.plugin, root, settings, db)
    if db is not None:
        _check_core(report, hooks, context)
    await asyncio.to_thread(lambda: None)  # the loop's own thread and pipes are there from now on
    before = leftovers.traces()
    await Life(report, hooks, context, settings, root).live()
    leftovers.compare(report, before, await _settled())
    if db is not None:
        await db.close()


async def _settled() -> Any:
    """What is left after a moment: a cancelled task needs one to end."""
    from oqto_platform.testing.inspection import leftovers

    await asyncio.sleep(0.05)
    return leftovers.traces()


def _database(report: Report, hooks: Hooks, root: Path) -> Any:
    from oqto_platform.testing.inspection import tables

    return tables.open_database(report, hooks, root)


def _check_core(report: Report, hooks: Hooks, context: Any) -> None:
    from oqto_platform import contributions
    from oqto_platform.hooks import PerPlugin
    from oqto_platform.testing.inspection import panels, routes

    routes.check(report, hooks, context)
    panels.check(report, hooks)
    try:
        contributions.jobs(hooks, PerPlugin(lambda _name: context))
    except OqtoError as exc:
        report.say("jobs", exc.detail)


def _look_around(report: Report, places: dict[str, Path]) -> None:
    from oqto_platform.testing.inspection import leftovers

    leftovers.stray_files(report, *places.values())
    loading.check_lightness(report)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


if __name__ == "__main__":
    main()
