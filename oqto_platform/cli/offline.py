"""What plugins would bring, found out by loading them here: no server has to run, and nothing is started."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import structlog

from oqto_platform import absent, config, contributions
from oqto_platform.cli import COMMANDS
from oqto_platform.config import keys
from oqto_platform.config.sections import Paths, Plugins
from oqto_platform.errors import OqtoError, PluginLoadError
from oqto_platform.hooks import Hooks, PerPlugin, Side
from oqto_platform.panels.catalogue import Catalogue
from oqto_platform.settings import Settings
from oqto_platform.types import Context

SIDES: tuple[Side, ...] = ("core", "runner")


class Privileges(msgspec.Struct, kw_only=True):
    """What one plugin may do on one side, as far as loading it tells."""

    side: str
    hooks: tuple[str, ...] = ()
    keys: list[str] = []
    routes: list[str] = []
    tables: list[str] = []
    jobs: list[str] = []
    panels: list[str] = []
    harnesses: list[str] = []
    folders: list[str] = []


class OfflineContext:
    """Stands where the server's would: a plugin that only brings something needs its name and settings."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.db = None
        self._settings = settings

    def __getattr__(self, name: str) -> Any:
        if name not in Context.__dict__:
            raise AttributeError(name)
        raise RuntimeError(
            f"{name} of the context exists in a server only; use it in prepare or startup, not while registering"
        )

    @property
    def log(self) -> Any:
        return structlog.get_logger("oqto.plugin").bind(plugin=self.name)

    def settings(self) -> Any:
        return self._settings.any_section(self.name) if self.name in self._settings.names() else None


class Offline:
    """The plugins of both sides as a start would load them."""

    def __init__(self, path: Path | None, only: Iterable[str] = ()) -> None:
        self._path = path
        chosen = config.peek(path, os.environ, "plugins", Plugins)
        self._disabled = set(chosen.disabled)
        named = tuple(name for name in os.environ.get("OQTO_PLUGINS", "").split(",") if name)
        self._only = tuple(only) or named or chosen.only

    def problems(self) -> list[str]:
        """Everything that would stop a start, one sentence each; a bad plugin does not hide the next one."""
        found = []
        for side in SIDES:
            left_out: set[str] = set()
            while problem := self._problem(side, left_out):
                found.append(problem.detail)
                name = problem.extra.get("plugin")
                if not isinstance(problem, PluginLoadError) or name is None or name in left_out:
                    break
                left_out.add(str(name))
        return found

    def _problem(self, side: Side, left_out: set[str]) -> OqtoError | None:
        try:
            self._bring_all(side, self._load(side, left_out))
        except OqtoError as exc:
            return exc
        return None

    def _load(self, side: Side, left_out: Iterable[str] = ()) -> Hooks:
        only = (*self._only, "builtin") if self._only and side == "runner" else self._only
        return Hooks.load(side, disabled=self._disabled | set(left_out), only=only)

    def _bring_all(self, side: Side, hooks: Hooks) -> None:
        if side == "runner":
            hooks.register_all("register_config")
            contributions.harnesses(hooks)
            return
        _refuse_hidden_commands(hooks)
        context = self._context(hooks)
        contributions.tables(hooks)
        contributions.routers(hooks, context)
        contributions.jobs(hooks, context)
        Catalogue.of(hooks)

    def _context(self, hooks: Hooks) -> PerPlugin:
        kinds = contributions.sections(hooks, absent.names(self._path, os.environ))
        settings = config.load(self._path, os.environ, kinds=kinds)
        return PerPlugin(lambda name: OfflineContext(name, settings))

    def privileges(self, name: str) -> list[Privileges]:
        """What the plugin `name` may do, by side. Raises what would stop a start with it."""
        self._only, self._disabled = (name,), set()
        found = [(side, self._load(side)) for side in SIDES]
        return [
            _privileges(side, hooks, name, self._context, self._path)
            for side, hooks in found
            if _has(hooks, name)
        ]


def _refuse_hidden_commands(hooks: Hooks) -> None:
    """A plugin with the name of a command of ours would have commands that nobody can reach."""
    for info in hooks.plugins():
        if info.version and info.name in COMMANDS and "register_commands" in info.hooks:
            raise hooks.error(
                info.name, f"oqtoctl {info.name} is the core's; give the entry point another name"
            )


def _has(hooks: Hooks, name: str) -> bool:
    return any(info.name == name for info in hooks.plugins())


def _privileges(
    side: Side, hooks: Hooks, name: str, context_of: Callable[[Hooks], PerPlugin], path: Path | None
) -> Privileges:
    info = next(info for info in hooks.plugins() if info.name == name)
    sections = hooks.register_all("register_config")
    known = [key.name for key in keys.leaves(name, sections[name])] if name in sections else []
    if side == "runner":
        harnesses = list(contributions.harnesses(hooks).get(name, ()))
        return Privileges(side=side, hooks=info.hooks, keys=known, harnesses=harnesses)
    panels = hooks.register_all("register_panels").values()
    context, paths = context_of(hooks), config.peek(path, os.environ, "paths", Paths)
    return Privileges(
        side=side,
        hooks=info.hooks,
        keys=known,
        routes=[line for router in contributions.routers(hooks, context) for line in _routes(router)],
        tables=[str(table) for owner in contributions.tables(hooks) for table in owner.metadata.tables],
        jobs=[f"{job.name} every {job.every_s:g} s" for job in contributions.jobs(hooks, context)],
        panels=[panel.element for some in panels for panel in some],
        folders=[f"{paths.data_dir}/{name}", f"{paths.state_dir}/{name}"],
    )


def _routes(router: Any) -> Iterable[str]:
    for route in router.routes:
        for handler in contributions.handlers_of(route):
            methods = " ".join(sorted(set(getattr(handler, "http_methods", ("WS",))) - {"OPTIONS"}))
            if methods:
                yield f"{methods} {route.path} ({_door(handler.opt)})"


def _door(opt: dict[str, Any]) -> str:
    if opt.get("public"):
        return "open to everybody"
    return "admins" if opt.get("admin") else "who is signed in"
