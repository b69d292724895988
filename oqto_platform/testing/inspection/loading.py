"""Rules about the import: it works, it is quick, and the runner's side stays light."""

from __future__ import annotations

import sys
import time
from typing import cast

from oqto_platform import hookspecs  # noqa: F401 (what the house has loaded anyway must not count)
from oqto_platform.errors import PluginLoadError
from oqto_platform.hooks import Hooks, Side
from oqto_platform.testing.inspection import Report

LOAD_LIMIT_S = 0.3
WEB_STACK = ("litestar", "sqlmodel", "sqlalchemy", "granian", "httpx")


def load(report: Report) -> Hooks | None:
    """The plugin's hooks; `None` when it cannot be loaded, which the report says."""
    begun = time.process_time()
    try:
        hooks = Hooks.load(cast("Side", report.side), only=[report.plugin])
        hooks.register_all("register_config")
    except PluginLoadError as exc:
        report.say("loads", exc.detail)
        return None
    # Processor time: a busy machine must not make a plugin slow.
    report.load_s = time.process_time() - begun
    if report.load_s > LOAD_LIMIT_S:
        report.say("quick", f"importing the {report.side} side takes {report.load_s:.2f} s of the processor; "
                            f"{LOAD_LIMIT_S} s is the limit: import heavy modules inside the functions that use them")  # fmt: skip
    return hooks


def check_lightness(report: Report) -> None:
    """Call it after the plugin has lived: modules that it loads late count as well."""
    for name in WEB_STACK:
        if report.side == "runner" and name in sys.modules:
            report.say(
                "light", f"the runner's side loads {name}; there is one runner for each person, keep it out"
            )
