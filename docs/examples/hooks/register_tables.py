from pathlib import Path
from typing import Any, ClassVar

from sqlmodel import Field, MetaData, SQLModel

from oqto_platform import Tables, hookimpl


class ReadingRow(SQLModel, table=True):
    __tablename__: ClassVar[Any] = "weather_reading"
    metadata: ClassVar[MetaData] = MetaData()  # of its own, or it holds the tables of others

    id: int | None = Field(default=None, primary_key=True)
    celsius: float


@hookimpl
def register_tables() -> Tables:
    return Tables(models=(ReadingRow,), migrations=Path(__file__).parent / "migrations")
