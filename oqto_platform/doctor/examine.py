"""All checks in their order: configuration first, because everything else is said there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from oqto_platform import absent, config, contributions
from oqto_platform.audit.place import place
from oqto_platform.config.sections import AgentBrowser, Logging, Paths, Plugins, Server, address
from oqto_platform.doctor import data, network, places
from oqto_platform.doctor.browser import browser
from oqto_platform.errors import OqtoError
from oqto_platform.hooks import Hooks, Side, installed_names
from oqto_platform.runners.registry import Registry
from oqto_platform.settings import Settings
from oqto_platform.types import Account, AccountId, Check

Ask = Callable[[], list[Check] | None]
"""What the running server says of itself; `None` when none answers."""

SIDES: tuple[Side, ...] = ("core", "runner")
UI = Path(__file__).parent.parent / "ui" / "index.html"


def examine(
    env: Mapping[str, str], config_path: str, ask: Ask, problems: Callable[[], list[str]]
) -> list[Check]:
    """
    Every check that can be made now. `problems` names what would stop a start, plugins first.

    Without a right configuration only the folders can be looked at besides.
    """
    checks, settings, path = _configuration(env, config_path)
    # What is wrong with the configuration keeps plugins from being looked at, and is told once.
    checks += [check for check in (_plugins(problems),) if check.detail != checks[0].detail]
    paths = settings.section("paths", Paths) if settings else config.glimpse(path, env, "paths", Paths)
    data_dir, state_dir = Path(paths.data_dir), Path(paths.state_dir)
    checks += _folders(data_dir, state_dir)
    if settings is None:
        return checks
    checks += [
        data.audit(place(settings.section("logging", Logging), state_dir)),
        places.web_ui(UI),
        browser(settings.section("agent_browser", AgentBrowser)),
        *_left_behind(data_dir, state_dir),
        *_idle_words(settings.section("plugins", Plugins).disabled, data_dir),
    ]
    running = ask()
    checks += _at_rest(env, settings) if running is None else _as_it_runs(running, checks)
    told = {check.name for check in checks}
    return [*checks, *(check for check in _of_all_plugins(path, env, settings) if check.name not in told)]


def _folders(data_dir: Path, state_dir: Path) -> list[Check]:
    return [
        places.folder("data directory", data_dir),
        places.folder("state directory", state_dir),
        places.private_files([data_dir, state_dir]),
        places.disk("disk of the data", data_dir),
        places.disk("disk of the state", state_dir),
    ]


def _configuration(
    env: Mapping[str, str], config_path: str
) -> tuple[list[Check], Settings | None, Path | None]:
    path = None
    try:
        path = config.locate(env, config_path)
        kinds = contributions.sections(_loaded("core", path, env), absent.names(path, env))
        settings = config.load(path, env, kinds=kinds, owner=_owner(path))
    except OqtoError as exc:
        repair = "mend what is named; oqtoctl config check tells whether it is right"
        return [Check(name="config", ok=False, detail=exc.detail, repair=repair)], None, path
    return [Check(name="config", ok=True, detail=settings.source)], settings, path


def _owner(path: Path | None) -> int:
    """Whose file it must be: the server's, which root may look at for it."""
    return path.stat().st_uid if os.geteuid() == 0 and path is not None else os.geteuid()


def _loaded(side: Side, path: Path | None, env: Mapping[str, str]) -> Hooks:
    chosen = config.peek(path, env, "plugins", Plugins)
    only = tuple(name for name in env.get("OQTO_PLUGINS", "").split(",") if name) or chosen.only
    return Hooks.load(side, disabled=chosen.disabled, only=(*only, "builtin") if only else ())


def _plugins(problems: Callable[[], list[str]]) -> Check:
    found = problems()
    if not found:
        return Check(name="plugins", ok=True, detail="every installed plugin loads")
    repair = "update or disable the plugin that is named: oqtoctl plugins disable NAME"
    return Check(name="plugins", ok=False, detail="; ".join(found), repair=repair)


def _left_behind(data_dir: Path, state_dir: Path) -> list[Check]:
    """What uninstalled plugins left is no failure: their data is kept on purpose."""
    return [
        Check(
            name=f"plugin {one.name}",
            ok=True,
            detail=f"{one.distribution} {one.version} is not installed any more; it left {one.summary}. "
            "Install it again to use that, or delete it",
        )
        for one in absent.left_behind(data_dir, state_dir)
    ]


def _idle_words(disabled: Sequence[str], data_dir: Path) -> list[Check]:
    """One that was uninstalled is no failure; one that was never there may be misspelt, and what was meant runs."""
    if not (names := absent.idle_words(disabled)):
        return []
    return [
        Check(
            name="plugins.disabled",
            ok=set(names) <= set(absent.remembered(data_dir)),
            detail=f"not installed: {', '.join(names)}; there are: {', '.join(sorted(installed_names()))}",
            repair=f"oqtoctl plugins enable {names[0]} takes the name out",
        )
    ]


def _as_it_runs(running: list[Check], found: list[Check]) -> list[Check]:
    """What the server says of itself, without what was `found` failing already."""
    told = {check.name for check in found if not check.ok}
    head = Check(name="server", ok=True, detail="it runs, and says:")
    return [head, *(check for check in running if check.ok or check.name not in told)]


def _at_rest(env: Mapping[str, str], settings: Settings) -> list[Check]:
    """What a running server would say, found out without it."""
    paths = settings.section("paths", Paths)
    data_dir, state_dir = Path(paths.data_dir), Path(paths.state_dir)
    server = settings.section("server", Server)
    checks = [
        Check(name="server", ok=True, detail="it does not run"),
        data.database(Path(env.get("OQTO_DATABASE_PATH") or data_dir / "oqto.db")),
        network.port(*address(server.listen)),
        network.admin_socket(server.admin_socket_path, state_dir / "oqtoctl.sock"),
    ]
    registry = Registry(settings, state_dir, env)
    if registry.child is None:
        checks.append(network.runner_socket(registry.address(Account(id=AccountId("doctor"), name=""))))
    return checks


def _of_all_plugins(path: Path | None, env: Mapping[str, str], settings: Settings) -> list[Check]:
    return [check for side in SIDES for check in _of_plugins(side, path, env, settings)]


def _of_plugins(side: Side, path: Path | None, env: Mapping[str, str], settings: Settings) -> list[Check]:
    try:
        answers = asyncio.run(_loaded(side, path, env).call.doctor(settings))
    except OqtoError:
        return []  # a plugin that does not load is told under `plugins`
    return [check for found in answers.values() for check in found]
