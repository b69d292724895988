"""
A long body on its way to the provider, piece by piece, never more of it held than a little.

It may say how the reply is to be paid for anywhere, so what belongs to that is read as it passes, and money
for each piece is set aside before the piece goes on. A provider that has not got the end cannot begin.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from .ask import ASKED
from .estimate import Prompt
from .fields import Fields

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .body import Body

    Cover = Callable[[int, dict[str, bytes]], Awaitable[None]]

SLICE = 64 * 1024
BUSY_STEPS = 2_000


class Upload:
    """
    What the provider gets. `model` is its own name of the model, empty to leave the one that was asked for.

    `cover` is told the estimate of the prompt and the fields so far before anything of them leaves; what it
    raises ends the upload. With `adds_usage` a stream of chat is asked for its counts; `strips` tells that the
    client did not ask for them. With `drops_options` nobody may ask.
    """

    def __init__(
        self,
        body: Body,
        cover: Cover,
        *,
        model: str = "",
        adds_usage: bool = False,
        drops_options: bool = False,
    ) -> None:
        self._body, self._cover = body, cover
        self._model, self._adds_usage, self._drops_options = model, adds_usage, drops_options
        self._fields = Fields(ASKED, replace=self._replaced, tail=self._ending)
        self.prompt = Prompt()
        self.strips = self.is_complete = False
        self.length = None if model or adds_usage or drops_options else body.length

    async def chunk(self) -> bytes | None:
        """The next piece, `None` once the provider has everything."""
        if (data := await self._body.chunk()) is None:
            self.is_complete = True
            return None
        passed = [await self._read(data[at : at + SLICE]) for at in range(0, len(data), SLICE)]
        await self._cover(self.prompt.tokens, self._fields.values)
        return b"".join(passed)

    async def _read(self, data: bytes) -> bytes:
        before = self._fields.steps
        self.prompt.feed(data)
        shown = self._fields.feed(data)
        if self._fields.steps - before > BUSY_STEPS:
            await asyncio.sleep(0)  # a body made of many small parts may not make all others wait
        return shown

    def _replaced(self, key: str, value: bytes) -> bytes | None:
        if key == "model" and self._model:
            return msgspec.json.encode(self._model)
        if key == "stream_options" and self._drops_options:
            return b"null"
        if key != "stream_options" or not self._adds_usage:
            return None
        options = _options(value)
        self.strips = not options.get("include_usage")
        return msgspec.json.encode({**options, "include_usage": True}) if self.strips else None

    def _ending(self) -> bytes:
        values = self._fields.values
        if not self._adds_usage or values.get("stream") != b"true" or "stream_options" in values:
            return b""
        self.strips = True
        return b',"stream_options":{"include_usage":true}'


def _options(value: bytes) -> dict[str, object]:
    try:
        found = msgspec.json.decode(value)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}
