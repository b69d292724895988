"""What the fixtures give: a whole server for tests of plugins, its sessions, and agents that misbehave."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from importlib.metadata import entry_points
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from oqto_platform.errors import OqtoError, Problem, from_problem
from oqto_platform.private import private_dir
from oqto_platform.testing.llm import ScriptedProvider
from oqto_platform.testing.stack import START_TIMEOUT_S, Stack
from oqto_platform.types import new_id

if TYPE_CHECKING:
    import httpx

    from oqto_platform.testing.mux import Event, MuxClient

GROUPS = ("oqto.core", "oqto.runner")
ENDS = ("agent.idle", "session.closed")
OWN = "builtin"
"""The runner's own entry point: always loaded."""


def installed_plugins() -> tuple[str, ...]:
    """The names of everything that is installed here, alphabetical."""
    names = {entry.name for group in GROUPS for entry in entry_points(group=group)}
    return tuple(sorted(names - {OWN}))


class Oqto(Stack):
    """
    A server whose runner knows agents that misbehave. `model` is the scripted provider of `eavs`, when that is loaded.

    Without the plugin `sandbox`, or without bubblewrap on this machine, agents run unconfined.
    """

    def __init__(
        self, root: Path, plugins: tuple[str, ...], model: ScriptedProvider, settings: Mapping[str, Any]
    ) -> None:
        self.model = model
        self.is_confined = "sandbox" in plugins and shutil.which("bwrap") is not None
        loaded = plugins if self.is_confined else tuple(name for name in plugins if name != "sandbox")
        super().__init__(root, plugins=loaded or (OWN,), env=_model_env(root, model, plugins), **settings)
        self._loaded = loaded
        self._runner: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the runner and the server, which adopts it."""
        self._start_runner()
        try:
            super().start()
        except BaseException:  # Ctrl-C too: `__exit__` does not run for what was never entered
            self._end_runner()
            raise

    def _start_runner(self) -> None:
        folder = private_dir(self.state_dir / "runner")
        with (folder / "runner.log").open("ab") as log:
            self._runner = subprocess.Popen(
                self._runner_command(folder), env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd="/", start_new_session=True,
            )  # fmt: skip

    def _runner_command(self, folder: Path) -> list[str]:
        argv = [sys.executable, "-I", "-m", "oqto_runner.testing"]
        argv += [] if self.is_confined else ["--unconfined"]
        argv += ["--socket", str(folder / "oqto-runner.sock"), "--state-dir", str(folder)]
        argv += ["--config", self.env["OQTO_CONFIG"]] if "OQTO_CONFIG" in self.env else []
        return [*argv, *(word for name in (*self._loaded, OWN) for word in ("--only-plugin", name))]

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, exc, trace)
        self._end_runner()

    def _end_runner(self) -> None:
        if self._runner is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._runner.pid, signal.SIGKILL)
            self._runner.wait()
            self._runner = None

    def new_client(self) -> httpx.Client:
        """A client of its own, signed in as the admin."""
        client = self.unsigned_client()
        client.headers["cookie"] = self.cookie()
        return client

    @contextmanager
    def session(self, harness: str = "echo", **fields: Any) -> Iterator[SessionUnderTest]:
        """A session in the workspace; raises what the server says when it does not start."""
        started = SessionUnderTest(self, self.begin(harness=harness, **fields))
        try:
            yield started
        finally:
            started.stop()

    def begin(self, **fields: Any) -> dict[str, Any]:
        """`POST /api/sessions`; a problem is raised as the error that it is, such as `Refusal`."""
        response = self.client.post("/api/sessions", json={"workspace": str(self.workspace), **fields})
        if response.is_error:
            raise problem_of(response)
        view: dict[str, Any] = response.json()
        return view


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
        # Its libraries load when they are wanted, not while the server is waited for.
        from oqto_platform.testing.mux import mux_client

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


@contextmanager
def running(root: Path, plugins: tuple[str, ...] | None, settings: Mapping[str, Any]) -> Iterator[Oqto]:
    """A server with its first account and a signed-in client, ended at the end."""
    with ScriptedProvider() as model, Oqto(root, plugins or installed_plugins(), model, settings) as oqto:
        oqto.set_up()
        yield oqto


def problem_of(response: httpx.Response) -> OqtoError:
    """The error that an answer of the server stands for."""
    return from_problem(msgspec.json.decode(response.content, type=Problem))


def _model_env(root: Path, model: ScriptedProvider, plugins: tuple[str, ...]) -> dict[str, str]:
    """A config.toml with the scripted provider, priced, for the plugin that knows providers."""
    if "eavs" not in plugins:
        return {}
    path = root / "config.toml"
    lines = (
        "[eavs.providers.scripted]",
        'kind = "openai-compatible"',
        f'base_url = "{model.url}/v1"',
        'api_key = "env:SCRIPTED_KEY"',
        'models = ["fake-1"]',
        "[eavs.providers.scripted.prices.fake-1]",
        "input = 1.0",
        "output = 2.0",
    )
    path.write_text("\n".join(lines) + "\n")
    return {"OQTO_CONFIG": str(path), "SCRIPTED_KEY": "sk-scripted"}
