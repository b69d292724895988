"""What an admin asks for: health in full, plugins with their counts, everybody's sessions."""

from __future__ import annotations

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from oqto_platform.audit.events import PluginReset
from oqto_platform.health import all_checks
from oqto_platform.services import Services
from oqto_platform.sessions.states import LIVE
from oqto_platform.types import Check


class HookTally(msgspec.Struct, frozen=True, kw_only=True):
    """How a plugin's hook did since the worker started. `is_off`: it kept failing and is not called for a while."""

    plugin: str
    hook: str
    calls: int
    failures: int
    mean_ms: float
    longest_block_ms: float
    last_failure: str
    skipped: int
    is_off: bool


class SwitchedOn(msgspec.Struct, frozen=True):
    """The hooks for which a plugin is called again."""

    hooks: list[str]


class SessionLine(msgspec.Struct, frozen=True, kw_only=True):
    """A live session of anybody: whose, where, in which state. No content."""

    id: str
    account_id: str
    workspace: str
    harness: str
    state: str
    created_at: float


@get("/api/admin/health", opt={"admin": True})
async def health(services: NamedDependency[Services]) -> list[Check]:
    return await all_checks(services)


@get("/api/admin/hooks", opt={"admin": True})
async def hooks(services: NamedDependency[Services]) -> list[HookTally]:
    return [
        HookTally(
            plugin=plugin,
            hook=hook,
            calls=tally.calls,
            failures=tally.failures,
            mean_ms=round(tally.seconds / tally.calls * 1e3, 3) if tally.calls else 0.0,
            longest_block_ms=round(tally.longest_block_s * 1e3, 3),
            last_failure=tally.last_failure,
            skipped=tally.skipped,
            is_off=tally.is_off,
        )
        for (hook, plugin), tally in sorted(services.hooks.tallies().items(), key=lambda item: item[0])
    ]


@post("/api/admin/plugins/{plugin:str}/reset", opt={"admin": True}, status_code=200)
async def reset(plugin: FromPath[str], services: NamedDependency[Services]) -> SwitchedOn:
    """Call a plugin again that was switched off because it kept failing; in this worker."""
    hooks = services.hooks.switch_on(plugin)
    services.audit(PluginReset(target=plugin, hooks=tuple(hooks)))
    return SwitchedOn(hooks)


@get("/api/admin/sessions", opt={"admin": True})
async def sessions(services: NamedDependency[Services]) -> list[SessionLine]:
    from oqto_platform.sessions.store import Store

    found = await Store(services.db).in_states(LIVE)
    return [
        SessionLine(
            id=stored.id,
            account_id=stored.session.account_id,
            workspace=stored.session.workspace,
            harness=stored.session.harness,
            state=stored.state,
            created_at=stored.created_at,
        )
        for stored in found
    ]


HANDLERS = [health, hooks, reset, sessions]
