"""`runtime.parallelism`: so many threads in each pool, and not one more."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest

from oqto_platform import config
from oqto_platform.db import Database
from oqto_platform.house import House


class Crowd:
    """Work that stays until it is let go; `most` were there at the same time."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.came, self.go, self._lock = threading.Semaphore(0), threading.Event(), threading.Lock()

    def work(self, *_):
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.came.release()
        self.go.wait(20)
        with self._lock:
            self.inside -= 1


async def most_at_once(start, threads: int) -> int:
    crowd = Crowd()
    running = [asyncio.ensure_future(start(crowd.work)) for _ in range(threads + 3)]
    for _ in range(threads):
        while not crowd.came.acquire(blocking=False):
            await asyncio.sleep(0)
    crowd.go.set()
    await asyncio.gather(*running)
    return crowd.most


@pytest.mark.parametrize("threads", [1, 3])
async def test_blocking_work(tmp_path, threads):
    (file := tmp_path / "config.toml").write_text(f"[runtime]\nparallelism = {threads}\n")
    house = SimpleNamespace(settings=config.load(file, {"HOME": str(tmp_path)}))
    assert House._set_parallelism(house) == threads
    assert await most_at_once(asyncio.to_thread, threads) == threads


@pytest.mark.parametrize("threads", [1, 3])
async def test_reading_the_database(tmp_path, threads):
    db = Database(tmp_path / "oqto.db", threads)
    assert await most_at_once(db.read, threads) == threads
    await db.close()


@pytest.mark.parametrize(("cpus", "threads"), [(1, 4), (16, 16), (None, 4)])
async def test_unset_is_one_for_each_cpu(monkeypatch, cpus, threads):
    monkeypatch.setattr("os.cpu_count", lambda: cpus)
    house = SimpleNamespace(settings=config.load(None, {"HOME": "/home/ada"}))
    assert House._set_parallelism(house) == threads
