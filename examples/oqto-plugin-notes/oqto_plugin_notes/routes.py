"""`/api/plugins/notes/…`: every account sees its own notes and nobody else's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from litestar import get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from oqto_platform import Context, Identity
from oqto_plugin_notes import tables


class Note(msgspec.Struct):
    """Body and answer of the routes."""

    text: Annotated[str, msgspec.Meta(max_length=20_000)]


class Count(msgspec.Struct):
    """How many sessions have notes."""

    count: int


def handlers(context: Context) -> Sequence[Any]:
    """The routes, on the database that `context` gives."""

    @get("/of/{session_id:str}")
    async def read(session_id: FromPath[str], identity: NamedDependency[Identity]) -> Note:
        return Note(await context.db.read(lambda t: tables.read(t, identity.account_id, session_id)))

    @put("/of/{session_id:str}")
    async def write(
        session_id: FromPath[str], data: JSONBody[Note], identity: NamedDependency[Identity]
    ) -> Note:
        await context.db.write(lambda t: tables.write(t, identity.account_id, session_id, data.text))
        return data

    @get("/count")
    async def count(identity: NamedDependency[Identity]) -> Count:
        return Count(await context.db.read(lambda t: tables.count(t, identity.account_id)))

    return [read, write, count]
