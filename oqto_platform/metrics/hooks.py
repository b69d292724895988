"""What plugins' hooks did, on the core and on the runner, as numbers for Prometheus."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from oqto_platform.errors import OqtoError
from oqto_platform.hooks import HookCount, Side
from oqto_platform.types import Metric

if TYPE_CHECKING:
    from oqto_platform.services import Services

NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
MOST = 2_000
"""A runner is its user's process: what it sends must not grow the answers of the server without end."""

LABELS = ("hook", "plugin", "side")


async def of_runner(services: Services) -> list[HookCount]:
    """What the runner says of its plugins. Raises `RunnerUnavailable`."""
    known = services.hooks.policies
    found = await services.runner.hooks()
    return [count for count in found[:MOST] if count.hook in known and _is_believable(count)]


def _is_believable(count: HookCount) -> bool:
    numbers = (count.calls, count.failures, count.seconds, count.longest_block_s, count.skipped, count.off)
    return NAME.fullmatch(count.plugin) is not None and all(
        number >= 0 and math.isfinite(number) for number in numbers
    )


async def of_runner_if_up(services: Services) -> list[HookCount]:
    """The same, and nothing while the runner is away."""
    try:
        return await of_runner(services)
    except OqtoError:
        return []


def metrics(core: Iterable[HookCount], runner: Iterable[HookCount]) -> list[Metric]:
    """Those of `/metrics`, by hook, plugin and side."""
    by_side: dict[Side, list[HookCount]] = {"core": list(core), "runner": list(runner)}
    counts = {(count.hook, count.plugin, side): count for side in by_side for count in by_side[side]}

    def family(name: str, text: str, of: str, *, is_gauge: bool = False) -> Metric:
        samples = {labels: float(getattr(count, of)) for labels, count in counts.items()}
        kind = "gauge" if is_gauge else "counter"
        return Metric(name=name, kind=kind, help=text, labels=LABELS, samples=samples)  # type: ignore[arg-type]

    return [
        family("oqto_hook_calls", "Calls of a plugin's hook.", "calls"),
        family("oqto_hook_failures", "Calls of a plugin's hook that failed.", "failures"),
        family("oqto_hook_seconds", "Time spent in a plugin's hook.", "seconds"),
        family("oqto_hook_skipped", "Calls left out while a hook was switched off.", "skipped"),
        family(
            "oqto_hook_off",
            "Processes in which a hook is switched off: it kept failing.",
            "off",
            is_gauge=True,
        ),
    ]
