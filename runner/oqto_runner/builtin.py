"""What the runner itself contributes through the hooks: its harnesses and plain workspaces."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from oqto_platform import Workspace, WorkspaceRequest, hookimpl
from oqto_runner.harness import Harness


@hookimpl
def register_harnesses() -> Sequence[Harness]:
    from oqto_runner.harness.echo import Echo
    from oqto_runner.harness.pi import Pi

    return [Pi(), Echo()]


@hookimpl(trylast=True)
async def create_workspace(request: WorkspaceRequest) -> Workspace | None:
    from oqto_runner.workspaces import open_workspace

    return await asyncio.to_thread(open_workspace, request)
