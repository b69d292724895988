"""A changed configuration in a running worker: read, told to everybody, noted for people."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from oqto_platform import logs
from oqto_platform.audit.events import ConfigChanged, ConfigRefused
from oqto_platform.audit.place import place
from oqto_platform.config import files
from oqto_platform.config.sections import Logging
from oqto_platform.config.status import ConfigStatus, Notice
from oqto_platform.errors import ConfigError

if TYPE_CHECKING:
    from oqto_platform.config.keys import Kinds
    from oqto_platform.config.live import Change
    from oqto_platform.house import House

log = structlog.get_logger("oqto.config")

START_DELAY_S = 1.0
"""The first page does not wait for the watcher's library."""


class Reloading:
    """Keeps the snapshot of one worker at what the files say."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._one = asyncio.Lock()
        self._notice: Notice | None = None
        self._failure = ""

    async def watch(self) -> None:
        """Reload on every change, until cancelled."""
        self._notice = Notice(self._house.state_dir / "config")
        self._notice.write(self._house.live)
        try:
            await self._watch()
        finally:
            self._notice.close()

    async def _watch(self) -> None:
        await asyncio.sleep(START_DELAY_S)
        # In a thread: nobody's request waits for the import.
        watch = await asyncio.to_thread(import_module, "oqto_platform.config.watch")
        live = self._house.live
        async for _ in watch.changes(self._paths, lambda: bool(live.error or self._failure)):
            self._failure = await self._follow()

    async def _follow(self) -> str:
        """Reload. What nobody thought of comes back in words, and is tried again until it passes."""
        try:
            await self.reload("the file changed")
        except ConfigError:
            return ""  # told already; the snapshot before holds
        except Exception as exc:  # whatever it was, the next change must be seen
            if repr(exc) != self._failure:
                log.exception("the configuration was not read again; the one before holds")
            return repr(exc)
        return ""

    async def reload(self, reason: str, actor: str = "") -> Change | None:
        """Take what the files say now. Raises `ConfigError` when that is wrong; then nothing changes."""
        async with self._one:
            before, pending = self._house.live.error, self._house.live.pending
            try:
                change = self._house.live.reload()
            except ConfigError as exc:
                if exc.detail != before:
                    self._refused(exc)
                raise
            finally:
                if self._notice is not None:
                    self._notice.write(self._house.live)
            if change is not None:
                await self._tell(change, reason, actor)
            elif before:
                log.info("the configuration is right again", source=self._house.settings.source)
            if change is None and self._house.live.pending != pending:
                self._record((), reason, actor)
            return change

    @property
    def kinds(self) -> Kinds:
        """Every section that this server knows."""
        return self._house.kinds

    def status(self) -> ConfigStatus:
        """What all workers hold."""
        assert self._notice is not None, "asked before the start"
        return self._notice.overall(self._house.live)

    def file_to_write(self) -> Path:
        """The file that is read, else the person's own, which is made then."""
        return self._house.config_path or files.usual_places(self._house.env)[0]

    def check(self, text: str) -> None:
        """Raise `ConfigError` unless `file_to_write` may say `text`."""
        self._house.load_config(0, text)

    def _paths(self) -> Iterable[Path]:
        house = self._house
        named = [house.config_path] if house.config_path else files.usual_places(house.env)
        return {*(path for name in named for path in files.related(name)), *house.live.wanted.files}

    def _refused(self, exc: ConfigError) -> None:
        log.error("configuration refused; the one before holds", reason=exc.detail)
        if self._house.leadership.leads():
            self._house.audit(ConfigRefused(outcome="refused", reason=exc.detail))

    async def _tell(self, change: Change, reason: str, actor: str) -> None:
        house, pending = self._house, self._house.live.pending
        _set_up_logs(house, change)
        log.info("configuration changed", keys=change.keys, waiting_for_restart=pending, reason=reason)
        if is_kept := change.new.section("logging", Logging).audit_enabled:
            _set_up_audit(house, change)
        self._record(change.keys, reason, actor)
        if not is_kept:  # and that is the last record
            _set_up_audit(house, change)
        await house.hooks.call.config_changed(change.old, change.new)

    def _record(self, keys: tuple[str, ...], reason: str, actor: str) -> None:
        """Once for all workers: by the one that was asked, else by the one that leads."""
        if self._house.leadership.leads() or actor:
            pending = self._house.live.pending
            self._house.audit(ConfigChanged(actor=actor, keys=keys, pending=pending, reason=reason))


def _set_up_audit(house: House, change: Change) -> None:
    settings = change.new.section("logging", Logging)
    try:
        house.audit.settle(place(settings, house.state_dir).path, max_mb=settings.audit_max_mb)
    except ConfigError as exc:  # it was looked at before, so it broke this very moment
        log.error("the audit log stays where it is", reason=exc.detail)


def _set_up_logs(house: House, change: Change) -> None:
    old, new = (settings.section("logging", Logging) for settings in (change.old, change.new))
    if (old.level, old.file) != (new.level, new.file):
        logs.set_up(new.level, file=new.file, env=house.env)
