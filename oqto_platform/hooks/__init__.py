"""
Find plugins and call their hooks from async code, with the plugin's name on every failure.

pluggy finds, validates and orders implementations; it does not call the awaited ones. Its own call
loop cannot await, forgets which plugin gave which result, and lets one raising plugin hide the rest
(a coroutine is never `None`, so `firstresult` stops at the wrong plugin). `Hooks` walks the ordered
implementations itself, in the one way the hook's specification asks for.
"""

from __future__ import annotations

from oqto_platform.hooks.counted import HookCount
from oqto_platform.hooks.failures import HookError, Origin
from oqto_platform.hooks.implementation import BLOCKING_S, PerPlugin, Tally
from oqto_platform.hooks.loading import PluginDeprecationWarning, installed, installed_names
from oqto_platform.hooks.registry import Hooks
from oqto_platform.hooks.spec import PROJECT, Mode, Policy, Side, hookimpl, hookspec

__all__ = [
    "BLOCKING_S",
    "PROJECT",
    "HookCount",
    "HookError",
    "Hooks",
    "Mode",
    "Origin",
    "PerPlugin",
    "PluginDeprecationWarning",
    "Policy",
    "Side",
    "Tally",
    "hookimpl",
    "hookspec",
    "installed",
    "installed_names",
]
