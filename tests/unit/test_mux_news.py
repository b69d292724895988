"""The list of sessions of an account: looked up once for all its browsers, and each hears what it does not know."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from oqto_platform.mux import news as module
from oqto_platform.mux.news import News, Newsroom
from oqto_platform.sessions.schemas import SessionView
from oqto_platform.types import AccountId, Identity

ADA = Identity(account_id=AccountId("acc_1"), name="ada")


def view(name: str, **fields) -> SessionView:
    values = {"title": "", "state": "running", **fields}
    empty = dict.fromkeys(("stop_reason", "confined_by", "profile", "network", "sandbox", "error"), "")
    none = dict.fromkeys(("agent_state", "started_at", "stopped_at", "last_active_at"))
    where = {"workspace": "/w", "workspace_name": "w", "harness": "echo", "provider": "", "model": ""}
    return SessionView(id=name, created_at=1.0, spent_usd=0.0, **where, **empty, **none, **values)


class House:
    """The sessions of one account, and who looks at them."""

    def __init__(self) -> None:
        self.views = [view("ses_1"), view("ses_2")]
        self.looks = self.watching = 0
        self.fault: Exception | None = None
        self.commits = asyncio.Queue[int]()

    async def listed(self, _limit):
        self.looks += 1
        if self.fault is not None:
            raise self.fault
        return list(self.views)

    @asynccontextmanager
    async def watch(self):
        self.watching += 1
        try:
            yield asyncio.StreamReader()
        finally:
            self.watching -= 1

    async def after(self, _seen):
        return await self.commits.get()

    def open(self, _identity):
        return News(self.listed, self, self.after)

    def change(self, *views) -> None:
        self.views = list(views)
        self.commits.put_nowait(1)


class Browser:
    def __init__(self, room: Newsroom) -> None:
        self.frames: asyncio.Queue[dict] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()
        self.task = asyncio.create_task(room.tell(ADA, self.send))

    async def send(self, text):
        await self.gate.wait()
        self.frames.put_nowait(json.loads(text))

    async def hears(self):
        async with asyncio.timeout(10):
            return await self.frames.get()

    async def leave(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(module, "PAUSE_S", 0)


async def test_many_browsers_cost_one_look_for_each_change():
    house = House()
    room = Newsroom(house.open)
    browsers = [Browser(room) for _ in range(20)]
    for browser in browsers:
        assert [one["id"] for one in (await browser.hears())["sessions"]] == ["ses_1", "ses_2"]
    before = house.looks
    house.change(view("ses_1", title="New"), view("ses_2"))
    for browser in browsers:
        told = await browser.hears()
        assert [(one["id"], one["title"]) for one in told["sessions"]] == [("ses_1", "New")]
        assert not told["all"]
    assert house.looks - before <= 2
    for browser in browsers:
        await browser.leave()
    assert house.watching == 0, "nobody is left to hear it"


async def test_a_slow_browser_hears_the_sum_of_what_it_missed():
    house = House()
    room = Newsroom(house.open)
    slow, keen = Browser(room), Browser(room)
    assert (await slow.hears())["all"]
    await keen.hears()
    slow.gate.clear()
    house.change(view("ses_1", title="a"), view("ses_2"))
    await keen.hears()
    house.change(view("ses_1", title="a"), view("ses_3"))
    await keen.hears()
    slow.gate.set()
    told = [await slow.hears(), await slow.hears()]
    assert {one["id"] for frame in told for one in frame["sessions"]} == {"ses_1", "ses_3"}
    assert [name for frame in told for name in frame["gone"]] == ["ses_2"]
    late = Browser(room)
    everything = await late.hears()
    assert everything["all"]
    assert [one["id"] for one in everything["sessions"]] == ["ses_1", "ses_3"]
    for browser in (slow, keen, late):
        await browser.leave()


async def test_a_list_that_cannot_be_had_is_told_as_soon_as_it_can(caplog):
    house = House()
    browser = Browser(Newsroom(house.open))
    await browser.hears()
    house.fault = RuntimeError("the disk is gone")
    house.change(view("ses_1", title="unseen"))
    async with asyncio.timeout(10):
        while house.looks < 3:
            house.commits.put_nowait(1)
            await asyncio.sleep(0.001)
    house.fault = None
    house.change(view("ses_1", title="seen"))
    assert (await browser.hears())["sessions"][0]["title"] == "seen"
    await browser.leave()
