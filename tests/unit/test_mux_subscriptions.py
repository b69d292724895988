"""Commands and subscriptions of one connection, with a runner that answers when it likes."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

import msgspec
from waiting import async_until

from oqto_platform import wire
from oqto_platform.mux.connection import Connection
from oqto_platform.types import AccountId, Identity

ADA = Identity(account_id=AccountId("acc_1"), name="ada")


class Peer:
    """A browser in this process."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[str | None] = asyncio.Queue()
        self.frames: list[dict] = []
        self.farewell = asyncio.Event()

    async def receive(self):
        return await self.incoming.get()

    async def send(self, text):
        self.frames.append(json.loads(text))

    def most_bytes(self):
        return 2**20

    def say(self, cmd, number, **fields):
        frame = {"channel": "agent", "id": str(number), "session_id": "ses_1", "cmd": cmd, **fields}
        self.incoming.put_nowait(json.dumps(frame))

    def replies(self):
        return {frame["id"]: frame for frame in self.frames if frame.get("event") == "response"}


class Runner:
    """Counts who follows, and answers `send` and `follow` after a moment of its own choice."""

    def __init__(self, delays=()) -> None:
        self.delays = iter(delays)
        self.sent, self.following, self.most = [], 0, 0

    async def send(self, session_id, command):
        await asyncio.sleep(next(self.delays, 0))
        self.sent.append(msgspec.to_builtins(command).get("message") or command.__struct_config__.tag)
        return SimpleNamespace(data=None)

    @asynccontextmanager
    async def follow(self, session_id, after):
        await asyncio.sleep(next(self.delays, 0.001))
        self.following += 1
        self.most = max(self.most, self.following)
        try:
            yield wire.Following(mode="exact", last=0), Silence()
        finally:
            self.following -= 1


class Silence:
    """A stream of a session that says nothing and never ends."""

    def begin(self, take) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...

    async def closed(self):
        await asyncio.Event().wait()


async def connected(runner, talk, find_delays=(), peer=None):
    peer, delays = peer or Peer(), iter(find_delays)

    async def find(identity, action, session_id):
        await asyncio.sleep(next(delays, 0))
        return runner

    async def holds():
        return ADA

    async def news(send):
        await asyncio.Event().wait()

    connection = Connection(
        peer, ADA, find, holds, "1", lambda session_id, command: None, peer.farewell, news
    )
    serving = asyncio.create_task(connection.run())
    await talk(peer)
    peer.incoming.put_nowait(None)
    async with asyncio.timeout(10):
        await serving
    return peer


async def test_commands_of_one_session_keep_their_order_however_long_each_takes():
    runner = Runner(delays=[0.02, 0, 0.01, 0])

    async def talk(peer):
        for number in range(4):
            peer.say("prompt", number, message=f"m{number}")
        await async_until(lambda: len(peer.replies()) == 4)

    await connected(runner, talk, find_delays=[0.03, 0, 0.02, 0])
    assert runner.sent == ["m0", "m1", "m2", "m3"]


async def test_abort_overtakes_what_waits():
    runner = Runner(delays=[0.05, 0, 0])

    async def talk(peer):
        peer.say("compact", 1)
        await async_until(lambda: runner.delays.__length_hint__() == 2)
        peer.say("prompt", 2, message="later")
        peer.say("abort", 3)
        await async_until(lambda: len(peer.replies()) == 3)

    await connected(runner, talk)
    assert runner.sent == ["abort", "compact", "later"]


async def test_many_subscriptions_at_once_are_one_and_none_is_left():
    runner = Runner(delays=[0.02, 0.01, 0.001, 0.0])

    async def talk(peer):
        for number in range(8):
            peer.say("subscribe", number)
        await async_until(lambda: len(peer.replies()) == 8)
        assert runner.following == 1, "every event would come more than once"
        peer.say("unsubscribe", 9)
        await async_until(lambda: "9" in peer.replies())
        assert runner.following == 0

    await connected(runner, talk)
    assert runner.following == 0


async def test_what_follows_ends_with_the_connection():
    runner = Runner()

    async def talk(peer):
        peer.say("subscribe", 1)
        await async_until(lambda: "1" in peer.replies())

    await connected(runner, talk)
    assert runner.following == 0


async def test_every_command_gets_exactly_one_reply_even_when_all_breaks():
    class Broken(Runner):
        async def send(self, session_id, command):
            raise ZeroDivisionError

    async def talk(peer):
        peer.say("prompt", 1, message="x")
        peer.say("no.such.command", 2)
        peer.say("prompt", 3)
        for text in (
            "{",
            "[]",
            '{"channel":"terminal","id":"4"}',
            '{"channel":"agent","id":"5","cmd":"abort"}',
            "[" * 5000,
        ):
            peer.incoming.put_nowait(text)
        await async_until(lambda: len(peer.frames) == 9)

    peer = await connected(Broken(), talk)
    assert {n: r["error"]["code"] for n, r in peer.replies().items()} == {
        "1": "internal",
        "2": "invalid",
        "3": "invalid",
    }
    errors = [frame for frame in peer.frames if frame.get("type") == "error"]
    assert [frame["id"] for frame in errors] == [None, None, "4", "5", None]
    assert all(frame["error"]["code"] in ("invalid", "malformed") for frame in errors)


class StuckPeer(Peer):
    """Takes the greeting, and then nothing more."""

    def send(self, text):
        sent = asyncio.get_running_loop().create_future()
        if not self.frames:
            self.frames.append(json.loads(text))
            sent.set_result(None)
        return sent


async def test_a_client_that_takes_nothing_does_not_hold_up_the_end_of_the_server(monkeypatch):
    monkeypatch.setattr("oqto_platform.mux.connection.BYE_TIMEOUT_S", 0)

    async def talk(peer):
        peer.farewell.set()

    peer = await connected(Runner(), talk, peer=StuckPeer())
    assert [frame["type"] for frame in peer.frames] == ["connected"]
