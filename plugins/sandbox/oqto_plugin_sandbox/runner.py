"""The hooks of the sandbox on the runner's side."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Sequence
from pathlib import Path

import structlog

from oqto_platform import hookimpl
from oqto_platform.canon import Event
from oqto_platform.errors import Unconfined
from oqto_platform.settings import Settings
from oqto_platform.types import (
    Check,
    ConfinedPlan,
    Context,
    Outcome,
    Session,
    SessionId,
    SpawnPlan,
    ToolCall,
)
from oqto_plugin_sandbox import delegation
from oqto_plugin_sandbox.checks import all_checks
from oqto_plugin_sandbox.egress.rules import Decision
from oqto_plugin_sandbox.policy.load import Owner
from oqto_plugin_sandbox.sandboxes import Sandboxes, own_places

log = structlog.get_logger("oqto.sandbox")


class _State:
    """What `startup` made; a module-level value because hooks are plain functions of a module."""

    sandboxes: Sandboxes | None = None


def owner() -> Owner:
    """The account that this process runs as; its home from the account database, never `$HOME`."""
    try:
        account = pwd.getpwuid(os.getuid())
    except KeyError:
        raise Unconfined(
            f"the number {os.getuid()} is no account of this machine, so there is no home and no policy for it. "
            "Repair: run as an account, or add one with useradd"
        ) from None
    return Owner(home=os.path.realpath(account.pw_dir), uid=account.pw_uid)


@hookimpl
def startup(context: Context) -> None:
    def note(session: str, decision: Decision) -> None:
        context.audit(
            "egress",
            session=session,
            host=decision.host,
            port=decision.port,
            allowed=decision.is_allowed,
            rule=decision.rule,
            outcome="ok" if decision.is_allowed else "refused",
        )

    def report(session: str, event: str, detail: str) -> None:
        log.warning(event, session=session, detail=detail)
        context.audit(event, session=session, detail=detail)

    def tell(session: str, event: Event) -> None:
        context.tell(SessionId(session), event)

    delegation.arrange()
    private = _private_places(context.state_dir)
    _State.sandboxes = Sandboxes(owner(), context.state_dir, note, private, report, tell)


def _private_places(state_dir: Path) -> tuple[str, ...]:
    """The runner's whole state directory, wherever it is: event logs and sockets of every session."""
    folder = state_dir.parent.parent
    own = (str(folder.parent.resolve()),) if folder.name == "plugins" else ()
    return (*own_places(os.environ), *own)


@hookimpl
async def confine(session: Session, plan: SpawnPlan) -> ConfinedPlan:
    if _State.sandboxes is None:
        raise Unconfined("the sandbox has not been started; this is a fault of the runner")
    confined = await _State.sandboxes.confine(session.id, session.workspace, plan)
    log.info(
        "confined",
        session=session.id,
        by=confined.confined_by,
        profile=confined.profile,
        network=confined.network,
    )
    return confined


@hookimpl
def session_started(session: Session) -> None:
    if _State.sandboxes is not None:
        _State.sandboxes.begun(session.id)


@hookimpl
async def tool_ended(session: Session, call: ToolCall) -> None:
    if _State.sandboxes is not None:
        await _State.sandboxes.heard(session.id, call)


@hookimpl
async def agent_gone(session: Session) -> None:
    if _State.sandboxes is not None:
        await _State.sandboxes.gone(session.id)


@hookimpl
async def session_stopped(session: Session, outcome: Outcome) -> None:
    if _State.sandboxes is not None:
        await _State.sandboxes.ended(session.id)


@hookimpl
async def shutdown() -> None:
    if _State.sandboxes is not None:
        await _State.sandboxes.close()
        _State.sandboxes = None


@hookimpl
async def doctor(settings: Settings) -> Sequence[Check]:
    return await asyncio.to_thread(all_checks, owner(), "/")


@hookimpl
async def health() -> Sequence[Check]:
    # In a thread: the checks start processes.
    return await asyncio.to_thread(all_checks, owner(), "/")
