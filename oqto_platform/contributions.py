"""
What plugins bring at the start: sections, tables, routes, jobs. Collected once, with every clash of names found and named.

Everything here raises `PluginLoadError`: which plugin, of which version, what is wrong, and the command to start without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from oqto_platform.config.sections import CORE
from oqto_platform.errors import PluginFailed
from oqto_platform.hooks.failures import BUILTIN
from oqto_platform.settings import Section

if TYPE_CHECKING:
    from litestar import Router

    from oqto_platform.db.migrate import Owner
    from oqto_platform.hooks import Hooks, PerPlugin
    from oqto_platform.types import Job, Tables

ROUTES = "/api/plugins"
DEPENDENCIES = ("identity",)
"""What a handler of a plugin may ask for by name, as `NamedDependency`."""

OWN_ROUTES = frozenset({"panels"})
"""What the core itself serves under `ROUTES`."""


class Absent(Section, frozen=True, forbid_unknown_fields=False):
    """The section of a plugin that is not loaded: it may stand there, and nobody looks at it."""


def sections(hooks: Hooks, absent: Iterable[str] = ()) -> dict[str, type[Section]]:
    """Every section: the core's, one for each plugin that has settings, and those of `absent` plugins."""
    found: dict[str, type[Section]] = hooks.register_all("register_config")
    for plugin in found:
        if plugin in CORE and not _only_waits(CORE[plugin]):
            raise hooks.error(
                plugin, f"[{plugin}] is a section of the core; give the entry point another name"
            )
    left = {name: Absent for name in absent if name not in CORE and name not in found}
    return CORE | found | left


def _only_waits(kind: type[Section]) -> bool:
    """Whether every key of a section is for a feature that a plugin will bring; that plugin may take the section."""
    metas = (meta for hint in kind.__annotations__.values() for meta in getattr(hint, "__metadata__", ()))
    marks = [meta.extra or {} for meta in metas if isinstance(meta, msgspec.Meta)]
    return bool(marks) and all(extra.get("needs") for extra in marks)


def tables(hooks: Hooks) -> list[Owner]:
    """The plugins' tables, each with its own history."""
    found: dict[str, Tables] = hooks.register_all("register_tables")
    return [_owner(hooks, plugin, brought) for plugin, brought in found.items()]


def _owner(hooks: Hooks, plugin: str, brought: Tables) -> Owner:
    from sqlalchemy import MetaData

    from oqto_platform.db.migrate import Owner

    if not brought.migrations.is_dir():
        raise hooks.error(plugin, f"there is no folder {brought.migrations} for the versions of its tables")
    # A metadata of its own: SQLModel's is shared, and holds the tables of every plugin that uses it.
    metadata = MetaData()
    for model in brought.models:
        name = str(model.__table__.name)
        if not name.startswith(f"{plugin}_"):
            raise hooks.error(plugin, f"the table {name!r} is not its own; name it {plugin}_{name}")
        model.__table__.to_metadata(metadata)
    return Owner(plugin, brought.migrations, metadata)


def routers(hooks: Hooks, context: PerPlugin) -> list[Router]:
    """A router for each plugin with routes, under its prefix and guarded like ours."""
    answers = hooks.register_all("register_routes", context=context)
    return [_router(hooks, plugin, list(handlers)) for plugin, handlers in answers.items()]


def _router(hooks: Hooks, plugin: str, handlers: list[Any]) -> Router:
    from litestar import Router
    from litestar.exceptions import LitestarException

    if plugin in OWN_ROUTES:
        raise hooks.error(plugin, f"{ROUTES}/{plugin} is the core's; give the entry point another name")
    prefix = f"{ROUTES}/{plugin}"
    try:
        router = Router(prefix, route_handlers=handlers, guards=[_started(hooks, plugin)])
        routes = [line for route in router.routes for line in _lines(route)]
    except (LitestarException, TypeError, ValueError) as exc:
        raise hooks.error(plugin, f"its routes cannot be mounted: {type(exc).__name__}: {exc}") from exc
    for route in router.routes:
        if route.path != prefix and not route.path.startswith(f"{prefix}/"):
            raise hooks.error(
                plugin, f"the route {route.path} lies outside of {prefix}; write it relative to that"
            )
    if twice := _first_repeated(routes):
        raise hooks.error(plugin, f"two handlers have the route {twice}; remove one of them")
    return router


def _started(hooks: Hooks, plugin: str) -> Any:
    """The guard of its routes: a plugin that did not start answers nobody."""

    def started(_connection: Any, _handler: Any) -> None:
        if plugin in hooks.aside:
            raise PluginFailed(f"plugin {plugin!r} did not start: {hooks.aside[plugin]}", plugin=plugin)

    return started


def _lines(route: Any) -> Iterator[str]:
    """`GET /path` for each method of each handler."""
    for handler in handlers_of(route):
        for method in getattr(handler, "http_methods", ("WS",)):
            yield f"{method} {route.path}"


def handlers_of(route: Any) -> list[Any]:
    """The handlers of one route of Litestar; a WebSocket has one."""
    return list(getattr(route, "route_handlers", None) or [route.route_handler])


def harnesses(hooks: Hooks) -> dict[str, dict[str, Any]]:
    """The agents that each plugin of a runner knows, by name."""
    answers: Mapping[str, Iterable[Any]] = hooks.register_all("register_harnesses")
    owners: dict[str, str] = {}
    found: dict[str, dict[str, Any]] = {}
    # Ours first, so that who takes its name is who is told.
    for plugin in sorted(answers, key=lambda name: (name != BUILTIN, name)):
        for harness in answers[plugin]:
            if (owner := owners.setdefault(harness.name, plugin)) != plugin or harness.name in found.get(
                plugin, {}
            ):
                text = f"its harness {harness.name!r} has the name of one of the plugin {owner!r}; give it another"
                raise hooks.error(plugin, text)
            found.setdefault(plugin, {})[harness.name] = harness
    return found


def jobs(hooks: Hooks, context: PerPlugin) -> list[Job]:
    """Every plugin's jobs, named after it."""
    answers: Mapping[str, Iterable[Job]] = hooks.register_all("register_jobs", context=context)
    return [job for plugin, found in answers.items() for job in _named(hooks, plugin, list(found))]


def _named(hooks: Hooks, plugin: str, found: list[Job]) -> Iterator[Job]:
    if twice := _first_repeated(job.name for job in found):
        raise hooks.error(plugin, f"two jobs are called {twice!r}; give one another name")
    for job in found:
        if job.every_s <= 0:
            raise hooks.error(
                plugin, f"the job {job.name!r} is to run every {job.every_s:g} s; take more than 0"
            )
        yield msgspec.structs.replace(job, name=f"{plugin}.{job.name}")


def _first_repeated(names: Iterable[str]) -> str:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""
