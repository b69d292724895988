"""A database of its own and a clock that stands still, for whoever asks."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from oqto_platform.db import Database, migrate, models


@pytest.fixture
async def db(tmp_path):
    """The core's database, migrated from nothing."""
    database = Database(tmp_path / "data" / "oqto.db")
    migrate.upgrade(database.engine, database.path, [core_owner()])
    yield database
    await database.close()


def core_owner():
    return migrate.Owner("core", migrate.HERE / "versions", models.metadata)


@pytest.fixture
def logs():
    with capture_logs() as entries:
        yield entries


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds

    def pass_(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def turn(monkeypatch):
    """`turn("oqto_platform.auth.tokens.now")`: a `Clock` in the place of that function."""

    def turn(*places: str) -> Clock:
        clock = Clock()
        for place in places:
            monkeypatch.setattr(place, clock)
        return clock

    return turn
