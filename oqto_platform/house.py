"""
One worker of the server: what it is made of, in which order it starts, and how it ends.

Start: files, leadership; the database, and beside it the daemons (the runner, and what plugins prepare); plugins, the admin
socket, the jobs. The end goes backwards; daemons and personal sessions end only with the last worker.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib import import_module
from importlib.metadata import version as installed_version
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import structlog

from oqto_platform import absent, config, contributions, logs, starting, tracing, welcome, worker
from oqto_platform.accounts.builtin import DevAccountsFollow, PasswordSignIn
from oqto_platform.audit import AuditLog
from oqto_platform.audit.events import ServerStarted
from oqto_platform.audit.place import place
from oqto_platform.audit.trail import Trail
from oqto_platform.background import Leadership, run_while_leading
from oqto_platform.children import PROBE_S, ChildFailed, Children
from oqto_platform.config.live import Live
from oqto_platform.config.sections import Local, Logging, Paths, Plugins, Runtime
from oqto_platform.context import CoreContext
from oqto_platform.errors import ConfigError
from oqto_platform.hooks import Hooks, PerPlugin
from oqto_platform.panels.catalogue import Catalogue
from oqto_platform.private import private_dir
from oqto_platform.reloading import Reloading
from oqto_platform.runners import records
from oqto_platform.runners.client import RunnerClient
from oqto_platform.runners.messenger import Messenger
from oqto_platform.runners.registry import Registry
from oqto_platform.types import Account, AccountId, Check, Job

if TYPE_CHECKING:
    from oqto_platform.db import Database
    from oqto_platform.services import Services
    from oqto_platform.settings import Settings

log = structlog.get_logger("oqto.house")

RECONCILE_S = 5.0
STOP_SESSIONS_S = 3.0
LEAST_THREADS = 4
"""Of one or two, a slow disk would take all."""


class House:
    """Settings and plugins from the environment; the rest exists between the start and the end."""

    app: Any
    services: Services
    db: Database
    audit: AuditLog
    farewell: asyncio.Event
    leadership: Leadership
    children: Children
    messenger: Messenger

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        self.env = env
        path = self.config_path = config.locate(env, env.get("OQTO_CONFIG_FLAG", ""))
        chosen = config.peek(path, env, "plugins", Plugins)
        only = tuple(name for name in env.get("OQTO_PLUGINS", "").split(",") if name) or chosen.only
        self.hooks = Hooks.load(
            "core", builtins={"builtin": self._builtin()}, disabled=chosen.disabled, only=only
        )
        self.panels = Catalogue.of(self.hooks)
        self.kinds = contributions.sections(self.hooks, absent.names(path, env))
        self.live = Live(self.load_config(1), self.load_config)
        self.reloading = Reloading(self)
        paths = self.settings.section("paths", Paths)
        self.data_dir, self.state_dir = Path(paths.data_dir), Path(paths.state_dir)
        logging = self.settings.section("logging", Logging)
        logs.set_up(logging.level, file=logging.file, env=env)
        self.hooks.name_several_answerers()
        self.registry = Registry(self.settings, self.state_dir, env)
        self.start = starting.StartChecks(fail_fast=self.settings.section("runtime", Runtime).fail_fast)

    @property
    def settings(self) -> Settings:
        return self.live.current

    def load_config(self, generation: int, text: str | None = None) -> Settings:
        """What the files say now, or would say with `text` in the first of them. Raises `ConfigError`."""
        named = self.env.get("OQTO_CONFIG_FLAG", "")
        path = self.config_path = config.relocate(self.env, named, self.config_path)
        if path is None and text is not None:
            path = config.usual_places(self.env)[0]
        settings = config.load(
            path, self.env, kinds=self.kinds, generation=generation, text=text, owner=os.geteuid()
        )
        self._check_logs(settings.section("logging", Logging))
        return settings

    def _check_logs(self, logging: Logging) -> None:
        """What cannot be written is found out before anything changes."""
        if logging.file:
            logs.check(logging.file)
        path = place(logging, self.state_dir).path if hasattr(self, "audit") else None
        if path is not None and path != self.audit.path:
            self.audit.check(path)

    def _builtin(self) -> SimpleNamespace:
        """The hooks that the core itself answers, as one plugin."""
        return SimpleNamespace(
            authenticate=PasswordSignIn(lambda: self.services.accounts).authenticate,
            session_stopped=Trail(lambda: self.audit).session_stopped,
            config_changed=DevAccountsFollow(lambda: self.services.dev_accounts).config_changed,
        )

    @property
    def is_personal(self) -> bool:
        """The server has a runner of its own: one person, this machine only."""
        return self.registry.child is not None

    def context(self, plugin: str) -> CoreContext:
        """What `plugin` gets to work with."""
        return CoreContext(plugin, self)

    @asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """The worker's life, from start to end."""
        async with AsyncExitStack() as stack:
            tracing.start(self.env, installed_version("oqto-platform"))
            stack.callback(tracing.stop)
            self._expect_farewell(stack)
            self.start.look(starting.of_machine(self.data_dir, self.state_dir, self.registry))
            self._open_files(stack)
            async with self._lead() as leading, self._daemons():
                await self._open_database(stack)
                # From here on they end while there still is a database.
                stack.push_async_exit(leading.pop_all())
            await starting.plugins(self.hooks, PerPlugin(self.context), self.start)
            await stack.enter_async_context(self._jobs())
            await self.services.dev_accounts.sync()
            await welcome.show_setup_link(self)
            self.audit(ServerStarted(version=self.services.version, pid=os.getpid()))
            yield

    def _expect_farewell(self, stack: AsyncExitStack) -> None:
        """Let connections end with a word."""
        self.farewell = asyncio.Event()
        worker.on_end.append(tell := self.farewell.set)
        stack.callback(worker.on_end.remove, tell)

    def _open_files(self, stack: AsyncExitStack) -> None:
        _made("data_dir", self.data_dir)
        _made("state_dir", self.state_dir)
        settings = self.settings.section("logging", Logging)
        self.audit = AuditLog(*place(settings, self.state_dir), max_mb=settings.audit_max_mb)
        stack.callback(self.audit.close)

    async def _open_database(self, stack: AsyncExitStack) -> None:
        # In threads, because requests are answered meanwhile: to import all that takes half a second.
        assembly = await asyncio.to_thread(import_module, "oqto_platform.assembly")
        self.db = await asyncio.to_thread(assembly.open_database, self, self._set_parallelism())
        stack.push_async_callback(self.db.close)
        self.messenger = Messenger(self._runner_of_session)
        stack.push_async_callback(self.messenger.close)
        absent.remember(self.data_dir, self.hooks.plugins())
        absent.warn(self.data_dir, self.state_dir)
        absent.warn_of_idle_words(self.settings.section("plugins", Plugins).disabled)
        self.services = self.app.state.services = assembly.make_services(self)

    def _set_parallelism(self) -> int:
        """The pool for blocking work gets as many threads as each other pool."""
        configured = self.settings.section("runtime", Runtime).parallelism
        threads = configured or max(LEAST_THREADS, os.cpu_count() or 1)
        pool = ThreadPoolExecutor(threads, thread_name_prefix="blocking")
        asyncio.get_running_loop().set_default_executor(pool)
        return threads

    def runner_of(self, account_id: str) -> RunnerClient:
        """The runner of an account."""
        address = self.registry.address(Account(id=AccountId(account_id), name=""))
        return RunnerClient(address, self.settings.section("runtime", Runtime).timeout)

    async def _runner_of_session(self, session_id: str) -> RunnerClient:
        from oqto_platform.sessions.store import Store

        return self.runner_of((await Store(self.db).get(session_id)).session.account_id)

    def _runner_records(self) -> records.RunnerRecords:
        from oqto_platform.sessions.store import Store

        return records.RunnerRecords(self.audit, Store(self.db).live_accounts, self.runner_of)

    def _lead(self) -> AsyncExitStack:
        """What this worker ends when it ends, whether it came as far as a database or not."""
        self.leadership = Leadership(self.state_dir)
        self.children = Children(self.leadership.leads)
        stack = AsyncExitStack()
        stack.push_async_callback(self._leave)
        stack.push_async_callback(self.hooks.call.shutdown)
        return stack

    async def _leave(self) -> None:
        """The last worker takes the daemons with it, and the sessions where that is asked for."""
        if not self.leadership.release():
            return
        stops = self.is_personal or self.settings.section("local", Local).stop_sessions_on_shutdown
        if stops and hasattr(self, "services"):
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SESSIONS_S):
                    await self.services.sessions.stop_all("shutdown")
        await self.children.stop_all()

    @asynccontextmanager
    async def _daemons(self) -> AsyncIterator[None]:
        """Have them start while the block runs; it ends when they are there."""
        tasks = [
            asyncio.create_task(starting.prepare(self.hooks, PerPlugin(self.context), self.start)),
            asyncio.create_task(self._start_runner()),
        ]
        try:
            yield
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _start_runner(self) -> None:
        if not self.registry.child:
            return
        try:
            await self.children.supervise(self.registry.child)
        except ChildFailed as exc:
            repair = "mend what it says; it is started again every few seconds"
            self.start.failed(Check(name="runner", ok=False, detail=exc.detail, repair=repair), exc)

    @asynccontextmanager
    async def _jobs(self) -> AsyncIterator[None]:
        from oqto_platform.admin.door import serve_door

        jobs = [
            Job(name="daemons", every_s=PROBE_S, run=self.children.keep),
            Job(name="reconcile", every_s=RECONCILE_S, run=self.services.reconciler.round),
            Job(name="records of runners", every_s=records.EVERY_S, run=self._runner_records().round),
            *contributions.jobs(self.hooks, PerPlugin(self.context)),
        ]
        if self.settings.section("local", Local).cleanup_on_startup and self.leadership.leads():
            await self.services.sessions.stop_all("shutdown")
        tasks = [asyncio.create_task(run_while_leading(self.leadership, job)) for job in jobs]
        tasks += [asyncio.create_task(serve_door(self)), asyncio.create_task(self.reloading.watch())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _made(key: str, path: Path) -> None:
    """Without its folders there is no server, whatever else may be missing."""
    try:
        private_dir(path)
    except OSError as exc:
        raise ConfigError(
            f"[paths] {key}: {path} cannot be made: {exc.strerror}; make it, and give it to the account of the server"
        ) from exc
