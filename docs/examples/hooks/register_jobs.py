from collections.abc import Sequence

from oqto_platform import Context, Job, hookimpl


@hookimpl
def register_jobs(context: Context) -> Sequence[Job]:
    async def refresh() -> None:
        context.log.info("weather asked for", city=context.settings().city)

    return [Job(name="refresh", every_s=600, run=refresh)]
