"""The one-time link that makes the first account: told on the terminal, never in the log."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oqto_platform.house import House

FILE = "setup-link"


async def show_setup_link(house: House) -> None:
    """While there is no account: make a new link, print it, and keep it (0600) for `oqtoctl setup-link`."""
    if not house.leadership.leads():
        return
    token = await house.services.accounts.new_setup_link()
    if token is None:
        forget_setup_link(house.state_dir)
        say(f"Oqto is at {address(house.env)}")
        return
    link = f"{address(house.env)}/#/setup/{token}"
    _keep(house.state_dir / FILE, link)
    say(f"Oqto is running. Make your account (this link works once):\n\n    {link}\n")


def forget_setup_link(state_dir: Path) -> None:
    """Its link was used: `oqtoctl setup-link` must not show one that opens nothing any more."""
    (state_dir / FILE).unlink(missing_ok=True)


def address(env: Mapping[str, str], argv: list[str] = sys.argv) -> str:
    """Where a browser finds this server, as far as the command line tells."""
    if known := env.get("OQTO_ADDRESS"):
        return known
    host = _option(argv, "--host") or env.get("GRANIAN_HOST") or "127.0.0.1"
    port = _option(argv, "--port") or env.get("GRANIAN_PORT") or "8000"
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"


def say(text: str) -> None:
    """To the person at the terminal."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _option(argv: list[str], name: str) -> str:
    for position, word in enumerate(argv):
        if word == name and position + 1 < len(argv):
            return argv[position + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return ""


def _keep(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text + "\n")
