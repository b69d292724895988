"""Every panel of this worker, collected and checked once at the start."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import msgspec

from oqto_platform.errors import NotFound
from oqto_platform.hooks import Hooks, installed
from oqto_platform.types import Identity, Panel

ELEMENT = re.compile(r"oqto(-[a-z0-9]+)+")


class Shown(msgspec.Struct, frozen=True):
    """A panel with the plugin that it belongs to."""

    plugin: str
    panel: Panel

    def is_for(self, identity: Identity) -> bool:
        """Whether this person gets to see it. What is placed for admins is theirs whatever `roles` says."""
        is_theirs = identity.role in self.panel.roles
        return is_theirs and (self.panel.place != "admin" or identity.is_admin)


class Catalogue:
    """The panels and static folders of the loaded plugins."""

    def __init__(self, shown: tuple[Shown, ...], folders: dict[str, Path]) -> None:
        self._shown = shown
        self._folders = folders

    @classmethod
    def of(cls, hooks: Hooks) -> Catalogue:
        """Ask every plugin once. Raises `PluginLoadError` that names the plugin and what to change."""
        folders = dict(_folders(hooks))
        answers = hooks.register_all("register_panels")
        shown = tuple(Shown(plugin, panel) for plugin, panels in answers.items() for panel in panels)
        _refuse_wrong(hooks, shown, folders)
        return cls(shown, folders)

    def for_(self, identity: Identity) -> list[Shown]:
        """What this person gets to see."""
        return [shown for shown in self._shown if shown.is_for(identity)]

    def find(self, plugin: str, element: str, identity: Identity) -> Shown:
        """One panel, when this person gets to see it."""
        for shown in self.for_(identity):
            if (shown.plugin, shown.panel.element) == (plugin, element):
                return shown
        raise NotFound(f"the plugin {plugin!r} shows you no panel {element!r}")

    def folders(self) -> dict[str, Path]:
        """Plugin to the folder `static` of its package, where it has one."""
        return dict(self._folders)


def _folders(hooks: Hooks) -> Iterator[tuple[str, Path]]:
    loaded = {info.name for info in hooks.plugins()}
    for entry in installed("core"):
        spec = find_spec(entry.module.partition(".")[0]) if entry.name in loaded else None
        if spec and spec.origin and (folder := Path(spec.origin).parent / "static").is_dir():
            yield entry.name, folder.resolve()


def _refuse_wrong(hooks: Hooks, shown: tuple[Shown, ...], folders: dict[str, Path]) -> None:
    owners: dict[str, str] = {}
    for one in shown:
        if reason := _wrong(one, folders) or _taken(one, owners):
            raise hooks.error(one.plugin, f"panel {one.panel.element!r}: {reason}")
        owners[one.panel.element] = one.plugin


def _wrong(one: Shown, folders: dict[str, Path]) -> str:
    prefix = f"oqto-{one.plugin.replace('_', '-').lower()}"
    element, panel = one.panel.element, one.panel
    if not ELEMENT.fullmatch(element) or (element != prefix and not element.startswith(f"{prefix}-")):
        return f"the element is to be called {prefix} or {prefix}-…, in small letters, digits and dashes"
    folder = folders.get(one.plugin)
    if folder is None or not (file := folder / panel.module).is_file():
        return f"there is no file static/{panel.module} beside the plugin's __init__.py"
    if not file.resolve().is_relative_to(folder):
        return f"static/{panel.module} lies outside of the folder static"
    if (panel.place == "tool") != bool(panel.tools):
        return "place='tool' and tools=(…), the names of the tools that it shows, belong together"
    return ""


def _taken(one: Shown, owners: dict[str, str]) -> str:
    owner = owners.get(one.panel.element)
    return f"the plugin {owner!r} has an element of this name already" if owner else ""
