import asyncio
import json

from oqto_platform import Context, hookimpl

STATIONS = ("Bergen", "Oslo")


@hookimpl
async def prepare(context: Context) -> None:
    """Beside the opening of the database; of several workers, one does it."""
    if context.leads():
        file = context.data_dir / "stations.json"
        await asyncio.to_thread(file.write_text, json.dumps(STATIONS))
