"""Nothing that a file does in the wrong moment makes a server deaf to the next change."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from waiting import async_until

from oqto_platform import reloading
from oqto_platform.config import watch
from oqto_platform.reloading import Reloading


class Stumbling(Reloading):
    """The first reading fails in a way that nobody thought of."""

    count = 0

    async def reload(self, reason, actor=""):
        self.count += 1
        if self.count == 1:
            raise RuntimeError("nobody thought of this")


async def test_a_reading_that_breaks_is_not_the_last_one(tmp_path, monkeypatch):
    monkeypatch.setattr(reloading, "START_DELAY_S", 0)
    (path := tmp_path / "config.toml").write_text("")
    live = SimpleNamespace(error="", wanted=SimpleNamespace(files=()))
    stumbling = Stumbling(SimpleNamespace(live=live, config_path=path, env={}))
    watching = asyncio.create_task(stumbling._watch())
    await async_until(lambda: stumbling.count == 1 or watching.done())
    path.write_text("[server]")
    await async_until(lambda: stumbling.count == 2 or watching.done())
    assert not watching.done()
    watching.cancel()


async def test_a_link_that_goes_while_it_is_followed_is_looked_at_again(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "RETRY_S", 0)
    looks = iter([True])

    def paths():
        if next(looks, False):
            raise FileNotFoundError
        return [tmp_path / "config.toml"]

    async for _ in watch.changes(paths, lambda: False):
        break
