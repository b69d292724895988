"""What plugins did, and calling one again that was switched off: in every worker and on the runner."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from oqto_platform.audit.events import PluginReset
from oqto_platform.errors import NotFound, OqtoError, RunnerUnavailable
from oqto_platform.hooks import HookCount, Side
from oqto_platform.metrics.hooks import of_runner_if_up
from oqto_platform.metrics.meter import Meter
from oqto_platform.services import Services

Asked = Request[Any, Any, Any]


class HookTally(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a plugin's hook did, in all workers of the core or on the runner.

    `is_off`: it kept failing and is not called for a while, in at least one of them.
    """

    plugin: str
    side: Side
    hook: str
    calls: int
    failures: int
    mean_ms: float
    longest_block_ms: float
    last_failure: str
    skipped: int
    is_off: bool


class SwitchedOn(msgspec.Struct, frozen=True, kw_only=True):
    """
    The hooks for which a plugin is called again, by side.

    `unreached`: why a worker or the runner may still leave it out; empty when all of them call it.
    """

    core: list[str]
    runner: list[str]
    unreached: str = ""


@get("/api/admin/hooks", opt={"admin": True})
async def hooks(request: Asked, services: NamedDependency[Services]) -> list[HookTally]:
    core, runner = await _of_core(request, services), await of_runner_if_up(services)
    return [*(_tally("core", count) for count in core), *(_tally("runner", count) for count in runner)]


@post("/api/admin/plugins/{plugin:str}/reset", opt={"admin": True}, status_code=200)
async def reset(plugin: FromPath[str], request: Asked, services: NamedDependency[Services]) -> SwitchedOn:
    """Call a plugin again that was switched off because it kept failing."""
    core = await _reset_core(plugin, request, services)
    runner = await _reset_runner(plugin, services)
    if core.unknown and runner.unknown:
        raise NotFound(f"on the core, {core.unknown}; on the runner, {runner.unknown}")
    if core.unknown and runner.unreached:
        raise RunnerUnavailable(f"{runner.unreached}; on the core, {core.unknown}")
    unreached = "; ".join(text for text in (core.unreached, runner.unreached) if text)
    services.audit(PluginReset(target=plugin, hooks=tuple(sorted({*core.hooks, *runner.hooks}))))
    return SwitchedOn(core=core.hooks, runner=runner.hooks, unreached=unreached)


async def _of_core(request: Asked, services: Services) -> list[HookCount]:
    """Those that were never called, too, and none of what is not installed any more."""
    meter: Meter = request.app.state.meter
    found = {(count.plugin, count.hook): count for count in (await meter.together()).hooks}
    return [found.get((count.plugin, count.hook), count) for count in services.hooks.counted()]


def _tally(side: Side, count: HookCount) -> HookTally:
    return HookTally(
        plugin=count.plugin,
        side=side,
        hook=count.hook,
        calls=count.calls,
        failures=count.failures,
        mean_ms=round(count.seconds / count.calls * 1e3, 3) if count.calls else 0.0,
        longest_block_ms=round(count.longest_block_s * 1e3, 3),
        last_failure=count.last_failure,
        skipped=count.skipped,
        is_off=count.off > 0,
    )


class _Done(NamedTuple):
    """The hooks of one side that were off, or why it did nothing."""

    hooks: list[str] = []  # noqa: RUF012 (never changed)
    unknown: str = ""
    unreached: str = ""


async def _reset_core(plugin: str, request: Asked, services: Services) -> _Done:
    known = [info.name for info in services.hooks.plugins()]
    if plugin not in known:
        return _Done(unknown=f"no plugin {plugin!r} is loaded; there are: {', '.join(known)}")
    counts = await _of_core(request, services)
    were_off = [count.hook for count in counts if count.plugin == plugin and count.off]
    meter: Meter = request.app.state.meter
    has_reached_all = await meter.reset(plugin)
    return _Done(
        were_off, unreached="" if has_reached_all else "a worker does not answer; restart the server"
    )


async def _reset_runner(plugin: str, services: Services) -> _Done:
    try:
        return _Done(await services.runner.reset_plugin(plugin))
    except NotFound as exc:
        return _Done(unknown=exc.detail)
    except OqtoError as exc:
        return _Done(unreached=exc.detail)


HANDLERS = [hooks, reset]
