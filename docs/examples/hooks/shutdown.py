import httpx

from oqto_platform import Context, hookimpl


class _Here:
    client: httpx.AsyncClient | None = None


@hookimpl
def startup(context: Context) -> None:
    _Here.client = httpx.AsyncClient()


@hookimpl
async def shutdown() -> None:
    if _Here.client is not None:  # startup may not have come so far
        await _Here.client.aclose()
        _Here.client = None
