"""The hooks of the sandbox on the runner's side."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Sequence

from oqto_platform import hookimpl
from oqto_platform.types import Check, ConfinedPlan, Session, SpawnPlan
from oqto_plugin_sandbox import launch
from oqto_plugin_sandbox.policy.load import Owner, load


@hookimpl
async def confine(session: Session, plan: SpawnPlan) -> ConfinedPlan:
    """Wrap the plan by the policy that holds now; files are read again for every session."""
    return await asyncio.to_thread(_confine, session.workspace, plan)


def _confine(workspace: str, plan: SpawnPlan) -> ConfinedPlan:
    owner = Owner(home=os.path.realpath(pwd.getpwuid(os.getuid()).pw_dir), uid=os.getuid())
    policy = load(owner, launch.real_workspace(workspace))
    if not policy.enabled:
        return launch.unconfined(plan)
    return launch.launch(launch.design(policy, workspace, plan, owner.home, owner.uid))


@hookimpl
def health() -> Sequence[Check]:
    return []
