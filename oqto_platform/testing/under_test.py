"""Sessions of a server under test: what an agent answers, and agents that misbehave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import msgspec

from oqto_platform.errors import OqtoError, Problem, from_problem
from oqto_platform.testing.mux import mux_client
from oqto_platform.testing.stack import START_TIMEOUT_S
from oqto_platform.types import new_id

if TYPE_CHECKING:
    import httpx

    from oqto_platform.testing.kit import Oqto
    from oqto_platform.testing.mux import Event, MuxClient

ENDS = ("agent.idle", "session.closed")


class Turn(msgspec.Struct, frozen=True):
    """What came of a prompt: the events until the agent rested or was gone."""

    events: list[Event]

    @property
    def text(self) -> str:
        """What the agent wrote."""
        return "".join(event["delta"] for event in self.events if event["event"] == "stream.text_delta")

    @property
    def kinds(self) -> list[str]:
        """The events' kinds, in order."""
        return [event["event"] for event in self.events]


class SessionUnderTest:
    """A session of `oqto`. `view` is what the API said when it began."""

    def __init__(self, oqto: Oqto, view: dict[str, Any]) -> None:
        self._oqto = oqto
        self.view = view
        self.id: str = view["id"]

    def prompt(self, text: str) -> Turn:
        """Send a message and wait for the end of the turn. In an async test use `connect`."""
        return asyncio.run(self._prompt(text))

    async def _prompt(self, text: str) -> Turn:
        async with self.connect() as mux:
            last = (await self._asked(mux, "subscribe", after=0))["last"]
            await self._asked(mux, "prompt", message=text, client_id=new_id("cli"))
            await mux.until(lambda event: event["seq"] > last and event["event"] in ENDS)
            return Turn([event for event in mux.events if event["seq"] > last])

    async def _asked(self, mux: MuxClient, cmd: str, **fields: Any) -> dict[str, Any]:
        reply = await mux.command(self.id, cmd, **fields)
        if not reply["success"]:
            raise from_problem(msgspec.convert(reply["error"], Problem))
        return reply["data"] or {}

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[MuxClient]:
        """A connection for tests that are async themselves: `await mux.command(session.id, "subscribe", after=0)`."""
        async with mux_client(self._oqto.url, self._oqto.cookie()) as mux:
            yield mux

    def state(self) -> str:
        """The session's state, such as `running` or `settled`."""
        response = self._oqto.client.get(f"/api/sessions/{self.id}")
        response.raise_for_status()
        return str(response.json()["state"])

    def wait_for(self, *states: str) -> str:
        """Wait until the session is in one of `states`; which one."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while (state := self.state()) not in states:
            if time.monotonic() > deadline:
                raise AssertionError(f"the session is {state!r}, not {' or '.join(states)}")
            time.sleep(0.05)
        return state

    def stop(self) -> None:
        """End it; harmless when it has ended."""
        self._oqto.client.post(f"/api/sessions/{self.id}/stop")


class Misbehaving:
    """Starts sessions with the agents of `oqto_runner.testing`; stops them when it is left."""

    def __init__(self, oqto: Oqto) -> None:
        self._oqto = oqto
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def session(self, kind: str) -> SessionUnderTest:
        """A session whose agent is `crashing`, `killed`, `hanging`, `flooding`, `noisy` or `littering`."""
        return self._stack.enter_context(self._oqto.session(harness=kind))

    def refused(self) -> OqtoError:
        """What the server says of an agent that does not start."""
        try:
            self.session("unstartable")
        except OqtoError as exc:
            return exc
        raise AssertionError("the agent that does not start was started")


def problem_of(response: httpx.Response) -> OqtoError:
    """The error that an answer of the server stands for."""
    return from_problem(msgspec.json.decode(response.content, type=Problem))
