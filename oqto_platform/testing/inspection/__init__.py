"""
What the contract suite asks of a plugin, found out in a process of its own.

`python -m oqto_platform.testing.inspection NAME SIDE` loads the installed plugin, lets it live through everything that the
house would do with it, and prints a `Report`. In a fresh process nothing that the tests loaded or left hides what
the plugin does.
"""

from __future__ import annotations

import msgspec


class Report(msgspec.Struct, kw_only=True):
    """What was found on one side. A rule's sentences name what to repair; a rule without any is kept."""

    plugin: str
    side: str
    found: dict[str, list[str]] = {}
    public_routes: list[str] = []
    load_s: float = 0.0
    blocking: dict[str, float] = {}

    def say(self, rule: str, sentence: str) -> None:
        """Note that `rule` is broken."""
        self.found.setdefault(rule, []).append(sentence)
