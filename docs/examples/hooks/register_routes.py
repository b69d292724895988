from collections.abc import Sequence
from typing import Any

from oqto_platform import Context, hookimpl


@hookimpl
def register_routes(context: Context) -> Sequence[Any]:
    from litestar import get

    @get("/city")
    async def city() -> dict[str, str]:
        return {"city": context.settings().city}

    @get("/alive", opt={"public": True})
    async def alive() -> str:
        return "yes"

    return [city, alive]
