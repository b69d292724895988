"""Signs in whoever the htpasswd file knows, and leaves everybody else to the next plugin."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from oqto_platform import Check, Context, Credentials, Identity, Section, hookimpl, key
from oqto_platform.types import AccountId

if TYPE_CHECKING:
    from collections.abc import Sequence


class Htpasswd(Section, frozen=True):
    """The section `[htpasswd]`."""

    file: Annotated[str, key("Path of the htpasswd file. Empty: nobody signs in this way.")] = ""


class _Core:
    context: Context


@hookimpl
def register_config() -> type[Section]:
    return Htpasswd


@hookimpl
def startup(context: Context) -> None:
    _Core.context = context


@hookimpl
async def authenticate(credentials: Credentials) -> Identity | None:
    path = _Core.context.settings().file
    # A hash takes tens of ms of a core on purpose, and its library as long to load: never on the event loop.
    if not path or not await asyncio.to_thread(_is_right, path, credentials):
        return None
    # Without an id the core takes the account of that name, and makes it at the first sign-in.
    return Identity(account_id=AccountId(""), name=credentials.name, door="password")


@hookimpl
async def health() -> Sequence[Check]:
    path = _Core.context.settings().file
    problem = await asyncio.to_thread(_problem_of, path) if path else ""
    repair = "make the file readable for the server; its lines come from the program htpasswd"
    return [Check(name="htpasswd", ok=not problem, detail=problem, repair=repair)]


def _is_right(path: str, credentials: Credentials) -> bool:
    from oqto_plugin_htpasswd.verifying import is_right

    return is_right(path, credentials.name, credentials.password)


def _problem_of(path: str) -> str:
    from oqto_plugin_htpasswd.verifying import problem_of

    return problem_of(path)
