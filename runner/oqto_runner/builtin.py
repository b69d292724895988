"""What the runner itself contributes through the hooks: its harnesses and plain workspaces."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from oqto_platform import Workspace, WorkspaceRequest, hookimpl
from oqto_platform.settings import Settings
from oqto_platform.types import Check, Context
from oqto_runner.harness import Harness

if TYPE_CHECKING:
    from oqto_runner.harness.pi import Pi


@cache
def _pi() -> Pi:
    from oqto_runner.harness.pi import Pi

    return Pi()


@hookimpl
def register_harnesses() -> Sequence[Harness]:
    from oqto_runner.harness.echo import Echo

    return [_pi(), Echo()]


@hookimpl
def startup(context: Context) -> None:
    _pi().keep_compiled_code(context.data_dir / "pi")


@hookimpl
async def doctor(settings: Settings) -> Sequence[Check]:
    """Whether pi and a Node that can run it are here, for the account that asks."""
    return [await asyncio.to_thread(_pi_check)]


def _pi_check() -> Check:
    from oqto_platform.errors import AgentFailed
    from oqto_runner.harness.pi.program import find_program

    try:
        found = find_program()
    except AgentFailed as exc:
        return Check(name="agent pi", ok=False, detail=exc.detail, repair="install what is named")
    version = ".".join(map(str, found.version))
    return Check(name="agent pi", ok=True, detail=f"{version} at {found.script}, with {found.node}")


@hookimpl(trylast=True)
async def create_workspace(request: WorkspaceRequest) -> Workspace | None:
    from oqto_runner.workspaces import open_workspace

    return await asyncio.to_thread(open_workspace, request)
