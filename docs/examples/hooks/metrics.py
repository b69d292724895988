from collections.abc import Sequence

from sqlalchemy import text

from oqto_platform import Context, Metric, hookimpl

READINGS = text("select count(*) from weather_reading")


class _Here:
    context: Context


@hookimpl
def startup(context: Context) -> None:
    _Here.context = context


@hookimpl
async def metrics() -> Sequence[Metric]:
    # From the database: another worker has another memory.
    count = await _Here.context.db.read(lambda transaction: transaction.scalar(READINGS))
    return [Metric(name="readings", kind="counter", help="Readings so far.", samples={(): float(count)})]
