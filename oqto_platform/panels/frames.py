"""
The page in which a panel lives that nobody vouched for.

A document of an opaque origin: it has no cookie, no storage, and no way out but a message port to the page
around it. Its files come through a ticket in their address, because without a cookie nothing else says that
whoever asks was signed in.
"""

from __future__ import annotations

import hmac
import math
from typing import TYPE_CHECKING

from oqto_platform.clock import now
from oqto_platform.errors import NotSignedIn
from oqto_platform.panels.catalogue import Shown

if TYPE_CHECKING:
    from oqto_platform.auth.tokens import Tokens

FILES = "/plugins/-/file"
TICKET_H = 12
CSP = (
    "sandbox allow-scripts; default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'none'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
PAGE_HEADERS = {"content-security-policy": CSP, "x-frame-options": "SAMEORIGIN", "cache-control": "no-store"}
# Scripts and fonts are fetched with CORS, which asks for the first; pictures and style sheets for the second.
FILE_HEADERS = {
    "access-control-allow-origin": "*",
    "cross-origin-resource-policy": "cross-origin",
    "cache-control": "no-cache",
    # Opened by itself, a file of a plugin is no page of ours.
    "content-security-policy": "sandbox; default-src 'none'",
}


def ticket_for(plugin: str, tokens: Tokens) -> str:
    """Lets its bearer fetch files of `plugin` for about twelve hours; the same for everybody in an hour."""
    until = math.ceil(now() / 3600) + TICKET_H
    return f"{plugin}.{until}.{_seal(plugin, until, tokens)}"


def plugin_of(ticket: str, tokens: Tokens) -> str:
    """The plugin that the ticket is for, or `NotSignedIn`."""
    plugin, _, rest = ticket.partition(".")
    until, _, seal = rest.partition(".")
    if not (until.isascii() and until.isdigit()) or len(until) > 9 or int(until) * 3600 < now():  # noqa: PLR2004
        raise NotSignedIn("this ticket has expired; load the page again")
    if not hmac.compare_digest(seal.encode(), _seal(plugin, int(until), tokens).encode()):
        raise NotSignedIn("this ticket is not one of ours; load the page again")
    return plugin


def page(shown: Shown, ticket: str) -> str:
    """The document: an empty body and our script, which asks the page around it for a port."""
    from html import escape  # 0.4 MB with the names of all entities, for the few who have such panels

    panel = shown.panel
    base = f"{FILES}/{ticket}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(panel.title)}</title>'
        f'<meta name="viewport" content="width=device-width">'
        f'<link rel="stylesheet" href="{escape(base)}/-/frame.css">'
        f'<body data-element="{escape(panel.element)}" data-module="{escape(f"{base}/{panel.module}")}">'
        f'<script type="module" src="{escape(base)}/-/frame.js"></script></body></html>'
    )


def _seal(plugin: str, until: int, tokens: Tokens) -> str:
    return tokens.seal("panel", f"{plugin}.{until}")
