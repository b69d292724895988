import msgspec

from oqto_platform import Session, SpawnPlan, hookimpl


@hookimpl
def spawn(session: Session, plan: SpawnPlan) -> SpawnPlan:
    return msgspec.structs.replace(
        plan,
        env={**plan.env, "WEATHER_DATA": "/usr/share/weather"},
        readable=(*plan.readable, "/usr/share/weather"),
    )
