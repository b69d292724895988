"""The life of the runner: load, listen, serve, end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from oqto_platform import clock, contributions, wire
from oqto_platform.children import PROBE_S, Child, Children
from oqto_platform.config.sections import Runner
from oqto_platform.errors import Conflict, PluginLoadError
from oqto_platform.hooks import Hooks, PerPlugin
from oqto_platform.settings import Settings
from oqto_platform.slim import REST_S, rest, settle
from oqto_runner import config, listen, scope, workspaces
from oqto_runner.answers import Answers
from oqto_runner.context import PluginContext
from oqto_runner.harness import Harness
from oqto_runner.scope import Reaper
from oqto_runner.server import Server
from oqto_runner.sessions import Sessions

REAP_EVERY_S = 5.0
OBSERVE_EVERY_S = 1.0
PLUGINS_SHUTDOWN_S = 0.6
IDLE_PROBE_S = 0.5
log = structlog.get_logger("oqto.runner")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says. `plugins` are further plugin objects by name, for embedding and tests."""

    socket: Path
    state_dir: Path
    runner_id: str = ""
    allowed_uids: frozenset[int] = frozenset()
    idle_exit_s: float = 0.0
    config: Path | None = None
    disabled: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    plugins: Mapping[str, object] = field(default_factory=dict)


class Daemon:
    """One runner. `run` returns when it has ended in order."""

    def __init__(self, options: Options) -> None:
        """Load the plugins and the configuration. Raises `PluginLoadError` or `ConfigError`."""
        self._options = options
        self._hooks = _load_plugins(options)
        self._hooks.name_several_answerers()
        self._state_dir = _private(options.state_dir)
        self._config = _load_config(options, self._hooks)
        self._harnesses = _harnesses(self._hooks)
        self._runner_id = _runner_id(options, self._config.live.current)
        self._children = Children(leads=lambda: True)
        self._end = asyncio.Event()
        self._reaper = Reaper()
        workspaces.protect(self._state_dir)
        self._sessions = Sessions(
            _private(self._state_dir / "sessions"), self._runner_id, self._hooks, self._harnesses
        )
        self._server = Server(self._answers(), frozenset({0, os.getuid()}) | options.allowed_uids)

    def _answers(self) -> Answers:
        return Answers(
            self._runner_id,
            self._sessions,
            self._hooks,
            self._harnesses,
            self._state_dir,
            self._config,
            self._end.set,
        )

    async def run(self, listener: socket.socket) -> None:
        """Serve on `listener` until a signal, a request or idleness ends it."""
        self._lock_state()
        scope.become_subreaper()
        for sig in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sig, self._end.set)
        try:
            await self._hooks.call.startup(PerPlugin(self._context))
            await self._sessions.recover()
            server = await asyncio.start_unix_server(self._server.serve, sock=listener, limit=wire.LIMIT)
            settle()
            asyncio.get_running_loop().call_later(REST_S, rest)
            listen.notify("READY=1")
            log.info("runner ready", runner=self._runner_id, pid=os.getpid(), state_dir=str(self._state_dir))
            await self._until_end()
            server.close()
        finally:
            listen.notify("STOPPING=1")
            await self._shut_down()

    def _lock_state(self) -> None:
        # Held until the process ends. A second runner would take the first one's agents for leftovers.
        self._lock = os.open(self._state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise Conflict(
                f"another runner uses {self._state_dir}; stop it, or name another folder with --state-dir"
            ) from exc

    async def _until_end(self) -> None:
        jobs = [
            self._repeat(REAP_EVERY_S, self._reap),
            self._repeat(OBSERVE_EVERY_S, self._observe),
            self._repeat(PROBE_S, self._children.keep),
        ]
        if self._options.idle_exit_s > 0:
            jobs.append(self._exit_when_idle())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
            await self._end.wait()
            for task in tasks:
                task.cancel()

    async def _shut_down(self) -> None:
        await self._sessions.shutdown()
        await self._server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PLUGINS_SHUTDOWN_S):
                await self._hooks.call.shutdown()
        await self._children.stop_all()
        log.info("runner ended")

    async def _exit_when_idle(self) -> None:
        last_use = clock.monotonic()
        while clock.monotonic() - last_use < self._options.idle_exit_s:
            await clock.sleep(min(IDLE_PROBE_S, self._options.idle_exit_s / 4))
            if self._sessions.has_processes or self._server.has_connections:
                last_use = clock.monotonic()
        log.info("nobody needs this runner", idle_s=self._options.idle_exit_s)
        self._end.set()

    async def _repeat(self, every_s: float, job: Callable[[], Awaitable[None]]) -> None:
        while True:
            await clock.sleep(every_s)
            try:
                await job()
            except Exception:  # housekeeping must not end the runner, whatever its children do
                log.exception("housekeeping failed")

    async def _reap(self) -> None:
        if self._sessions.has_processes or self._reaper.has_suspects:
            await self._reaper.sweep()

    async def _observe(self) -> None:
        await self._sessions.observe()

    def _context(self, plugin: str) -> PluginContext:
        return PluginContext(
            plugin, self._state_dir, lambda: self._config.live.current, self._supervise, self._sessions.tell
        )

    async def _supervise(self, child: Child) -> None:
        await self._children.supervise(child)


def _load_plugins(options: Options) -> Hooks:
    if "builtin" in options.disabled:
        raise PluginLoadError("the plugin 'builtin' is the runner itself and cannot be disabled")
    only = (*options.only, "builtin") if options.only else ()
    return Hooks.load("runner", builtins=options.plugins, disabled=options.disabled, only=only)


def _load_config(options: Options, hooks: Hooks) -> config.Current:
    kinds = {**config.OWN, **hooks.register_all("register_config")}
    return config.Current(options.config, kinds, options.state_dir / "config.last-good.json")


def _harnesses(hooks: Hooks) -> dict[str, Harness]:
    known = contributions.harnesses(hooks).values()
    return dict(sorted((name, harness) for harnesses in known for name, harness in harnesses.items()))


def _runner_id(options: Options, settings: Settings) -> str:
    named: Iterable[Any] = (
        options.runner_id,
        settings.section("runner", Runner).runner_id,
        os.environ.get("OQTO_RUNNER_ID"),
        socket.gethostname(),
    )
    return next((name for name in named if name), "local")


def _private(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
