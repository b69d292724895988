"""A report of what was spent, as a file for a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .control import Row


FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_csv(by: str, rows: Sequence[Row]) -> str:
    """A report as a file. A name that a spreadsheet would run as a formula is led by an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([by, "calls", "cost_usd", "input", "cache_read", "cache_write", "output", "estimated"])
    for row in rows:
        name = f"'{row.name}" if row.name.startswith(FORMULA) else row.name
        usd = f"{row.cost_nusd / 1e9:.9f}"
        writer.writerow(
            [name, row.calls, usd, row.input, row.cache_read, row.cache_write, row.output, row.estimated]
        )
    return out.getvalue()
