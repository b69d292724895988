"""What the runner itself contributes through the hooks: its harnesses and plain workspaces."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from oqto_platform import Workspace, WorkspaceRequest, hookimpl
from oqto_platform.types import Context
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


@hookimpl(trylast=True)
async def create_workspace(request: WorkspaceRequest) -> Workspace | None:
    from oqto_runner.workspaces import open_workspace

    return await asyncio.to_thread(open_workspace, request)
