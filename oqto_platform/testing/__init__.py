"""
What tests of Oqto and of its plugins lean on. Importing this package imports nothing else.

`PluginContract` is the suite that every plugin passes; the fixtures of `oqto_platform.testing.fixtures` (`oqto`, `client`,
`session`, `misbehaving`) are there in every pytest of an environment with Oqto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oqto_platform.testing.contract import PluginContract

__all__ = ["PluginContract"]


def __getattr__(name: str) -> Any:
    if name != "PluginContract":
        raise AttributeError(f"module 'oqto_platform.testing' has no attribute {name!r}")
    from oqto_platform.testing.contract import PluginContract

    return PluginContract
