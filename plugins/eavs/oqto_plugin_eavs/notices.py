"""What a session's people read in its log when money runs low."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oqto_platform.canon import Notify

from .wallets import ALL

if TYPE_CHECKING:
    from .control import Alert

WHOSE = {
    "session": "this session",
    "workspace": "this workspace",
    "account": "your account",
    "group": "your group",
    "platform": "the whole platform",
    "key": "this key",
}
SHARED = ("group", "platform")
"""Wallets of several accounts: what others spent is not for everybody to read."""
LATE = 95


def notice_of(alert: Alert) -> Notify:
    """The event for the log of the session whose call reached a threshold."""
    whose = WHOSE.get(alert.kind, alert.kind)
    if alert.percent < ALL:
        text = f"{alert.percent} % of the budget of {whose} is spent{_amounts(alert)}."
    else:
        text = f"The budget of {whose} covers no more calls{_amounts(alert)}. An admin can raise the limit."
    return Notify(level="warning" if alert.percent >= LATE else "info", message=text)


def _amounts(alert: Alert) -> str:
    if alert.kind in SHARED:
        return ""
    return f": ${alert.spent_nusd / 1e9:.2f} of ${alert.limit_nusd / 1e9:.2f}"
