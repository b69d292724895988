"""What the web UI is told of a panel."""

from __future__ import annotations

from typing import Literal

import msgspec


class PanelView(msgspec.Struct, frozen=True, kw_only=True):
    """
    A custom element of a plugin. `module` is the URL of the ES module that defines it.

    `frame` is the URL of the sandboxed page that shows it; empty when `[plugins] trusted_panels` names the
    plugin, and the element then lives in the page itself. `tools` are the tools whose results it shows.
    """

    plugin: str
    element: str
    module: str
    frame: str
    place: Literal["session", "account", "admin", "first-run", "tool"]
    title: str
    tools: tuple[str, ...] = ()
