"""The product's application with two more routes for `requests.py`: the same answer, guarded and public."""

from __future__ import annotations

import msgspec
from litestar import get

from oqto_platform.app import app


class Me(msgspec.Struct, frozen=True):
    """As small as what a page asks for at its start."""

    id: str = "acc_0123456789abcdefghjk"
    name: str = "ada"
    role: str = "admin"


@get("/api/bench/guarded")
async def guarded() -> Me:
    return Me()


@get("/api/bench/open", opt={"public": True})
async def public() -> Me:
    return Me()


app.register(guarded)
app.register(public)
