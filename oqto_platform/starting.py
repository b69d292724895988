"""
What a start finds wrong with its machine, and whether it goes on.

`runtime.fail_fast`: the first failing check ends the start. Without it every failing check is told and the server opens
with what works; what it cannot be without (database, audit log, its folders) ends the start all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from oqto_platform.doctor import network, places
from oqto_platform.errors import OqtoError, StartRefused
from oqto_platform.hooks import Hooks, PerPlugin
from oqto_platform.runners.registry import Registry
from oqto_platform.types import Account, AccountId, Check

log = structlog.get_logger("oqto.start")

Look = Callable[[], Check]


class StartChecks:
    """Keeps what failed: the health report looks at it again until it is mended."""

    def __init__(self, *, fail_fast: bool) -> None:
        self.fail_fast = fail_fast
        self._failed: list[Look] = []
        self.known: set[str] = set()
        """Names of the checks that an operator chose to start with all the same."""

    def look(self, looks: Iterable[Look]) -> None:
        """Make each check. Raises `StartRefused` at the first that fails, when that is asked for."""
        for look in looks:
            if not (check := look()).ok:
                self._tell(check)
                self._failed.append(look)
                self.known.add(check.name)

    def failed(self, check: Check, cause: OqtoError) -> None:
        """Something did not start that others take note of themselves. Raises `cause` when one failure is enough."""
        if self.fail_fast:
            raise cause
        self._tell(check)

    def again(self) -> list[Check]:
        """What failed at the start, as it is now."""
        return [look() for look in self._failed]

    def _tell(self, check: Check) -> None:
        if self.fail_fast:
            raise StartRefused(
                f"{check.name}: {check.detail}; repair: {check.repair} "
                "([runtime] fail_fast = false starts the server all the same)"
            )
        log.error("start-up check failed", check=check.name, detail=check.detail, repair=check.repair)


def of_machine(data_dir: Path, state_dir: Path, registry: Registry) -> list[Look]:
    """The checks of the doctor that cost a start nothing: folders, modes, room, a runner that others start."""
    looks: list[Look] = [
        lambda: places.folder("data directory", data_dir),
        lambda: places.folder("state directory", state_dir),
        lambda: places.private_files([data_dir, state_dir]),
        lambda: places.disk("disk of the data", data_dir),
        lambda: places.disk("disk of the state", state_dir),
    ]
    if registry.child is None:
        nobody = Account(id=AccountId("start"), name="")
        looks.append(lambda: network.runner_socket(registry.address(nobody)))
    return looks


async def prepare(hooks: Hooks, context: PerPlugin, start: StartChecks) -> None:
    """Have every plugin start what needs no database. A failure is treated as one of `plugins`."""
    if start.fail_fast:
        await hooks.call.prepare(context)
    else:
        await _one_by_one("prepare", hooks, context, start)


async def plugins(hooks: Hooks, context: PerPlugin, start: StartChecks) -> None:
    """Have every plugin start; one that does not is left out where that was chosen, else it ends the start."""
    if start.fail_fast:
        await hooks.call.startup(context)
    else:
        await _one_by_one("startup", hooks, context, start)


async def _one_by_one(hook: str, hooks: Hooks, context: PerPlugin, start: StartChecks) -> None:
    for plugin in hooks.answering(hook):
        if plugin in hooks.aside:
            continue
        try:
            await hooks.run_one(hook, plugin, context=context)
        except OqtoError as exc:
            hooks.set_aside(plugin, exc.detail)
            repair = f"mend it and restart, or: oqtoctl plugins disable {plugin}"
            start.failed(Check(name=f"plugin {plugin}", ok=False, detail=exc.detail, repair=repair), exc)
