"""As the person's Linux user: a greeting in the agent's environment."""

import msgspec

from oqto_platform import Session, SpawnPlan, hookimpl


@hookimpl
def spawn(session: Session, plan: SpawnPlan) -> SpawnPlan:
    return msgspec.structs.replace(plan, env={**plan.env, "HELLO": f"from {session.id}"})
