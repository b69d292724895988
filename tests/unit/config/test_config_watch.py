"""Nothing that a file does in the wrong moment makes a server deaf to the next change."""

from __future__ import annotations

import asyncio
import fcntl
import os
from types import SimpleNamespace

import pytest
from waiting import async_until

from oqto_platform import config, reloading
from oqto_platform.config import watch
from oqto_platform.config.live import Live
from oqto_platform.config.status import Notice, _living
from oqto_platform.reloading import Reloading


class Stumbling(Reloading):
    """The first reading fails in a way that nobody thought of."""

    count = 0

    async def reload(self, reason, actor=""):
        self.count += 1
        if self.count == 1:
            raise RuntimeError("nobody thought of this")


async def test_a_reading_that_breaks_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(reloading, "START_DELAY_S", 0)
    (path := tmp_path / "config.toml").write_text("")
    live = SimpleNamespace(error="", wanted=SimpleNamespace(files=()))
    stumbling = Stumbling(SimpleNamespace(live=live, config_path=path, env={}))
    watching = asyncio.create_task(stumbling._watch())
    await async_until(lambda: stumbling.count == 2 or watching.done())
    assert not watching.done()
    watching.cancel()


@pytest.mark.parametrize("failure", [FileNotFoundError, PermissionError])
async def test_a_link_that_cannot_be_followed_is_looked_at_again_and_others_go_on(
    tmp_path, monkeypatch, failure
):
    monkeypatch.setattr(watch, "RETRY_S", 0.01)
    looks, turns = iter(range(1000)), []
    asyncio.get_running_loop().call_later(0.02, turns.append, "somebody else's")

    def paths():
        if not turns:
            assert next(looks, None) is not None, "nobody else had a turn"
            raise failure
        return [tmp_path / "config.toml"]

    async for _ in watch.changes(paths, lambda: False):
        break


async def test_a_file_that_is_being_written_is_read_when_it_is_whole(tmp_path):
    (path := tmp_path / "config.toml").write_text("before")
    looks = iter([])

    def paths():
        if next(looks, None) == "the editor goes on":
            path.write_text("after")
        return [path]

    seen = []
    async for _ in watch.changes(paths, lambda: False):
        seen.append(path.read_text())
        if seen == ["before"]:
            path.write_text("")
            looks = iter(["the editor was halted", "the editor was halted", "the editor goes on"])
        else:
            break
    assert seen == ["before", "after"]


def test_a_worker_that_somebody_looks_at_while_it_begins_is_still_told_of(tmp_path, monkeypatch):
    lock = fcntl.flock

    def after_a_look(handle, operation):
        monkeypatch.setattr(fcntl, "flock", lock)
        assert list(_living(tmp_path)) == []
        lock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", after_a_look)
    notice = Notice(tmp_path)
    notice.write(Live(config.load(None, {"HOME": "/home/ada"})))
    assert [worker.pid for worker in _living(tmp_path)] == [os.getpid()]
    notice.close()
