"""Plugins made on the spot, and hooks loaded with them."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from oqto_platform.hooks import Hooks, hookimpl, loading


def plugin_of(**functions: Any) -> Any:
    """An object whose functions are hook implementations."""
    return SimpleNamespace(**{name: hookimpl(function) for name, function in functions.items()})


@pytest.fixture
def make_plugin():
    return plugin_of


@pytest.fixture
def make_hooks():
    """`make_hooks(a=plugin, b=plugin)`: a checked `Hooks` that calls them in the order given here."""

    def make(_side: str = "core", **plugins: Any) -> Hooks:
        hooks = Hooks(_side)
        for name, plugin in reversed(plugins.items()):  # the last one registered is called first
            hooks.register(plugin, name)
        return hooks.checked()

    return make


class FakeDist:
    metadata = {"Name": "oqto-plugin-weather", "Version": "2.7.1"}  # noqa: RUF012 (read only)


class Installed:
    """Stands where an installed package's entry point would."""

    def __init__(self, name: str, plugin: Any) -> None:
        self.name, self._plugin, self.dist = name, plugin, FakeDist()

    def load(self) -> Any:
        if isinstance(self._plugin, Exception):
            raise self._plugin
        return self._plugin


@pytest.fixture
def install(monkeypatch):
    """`install(weather=plugin)`: exactly these are installed; an exception as plugin is raised on import."""

    def install(**plugins: Any) -> None:
        found: list[EntryPoint] = [Installed(name, plugins[name]) for name in sorted(plugins)]  # type: ignore[misc]
        monkeypatch.setattr(loading, "installed", lambda _side: found)

    return install


@pytest.fixture
def logs():
    with capture_logs() as entries:
        yield entries
