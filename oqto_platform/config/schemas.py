"""The configuration as `/api/settings` gives and takes it."""

from __future__ import annotations

from typing import Any

import msgspec

from oqto_platform.config.status import ConfigStatus
from oqto_platform.config.view import KeyView


class SettingsView(msgspec.Struct, frozen=True, kw_only=True):
    """
    Every key. `file` is where changes are written, `revision` what it says now; send it back with a change.

    `read_only` is why the server cannot write the file, else empty.
    """

    file: str
    revision: str
    read_only: str
    status: ConfigStatus
    keys: list[KeyView]


class SettingsChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Dotted key to value; `null` removes the key from the file. `revision`: of the view that was looked at."""

    revision: str
    values: dict[str, Any]
