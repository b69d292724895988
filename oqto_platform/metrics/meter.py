"""One worker among the others: leaves its numbers, reads theirs, and does what all of them are asked to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from oqto_platform.metrics.counts import counts
from oqto_platform.metrics.resets import Resets
from oqto_platform.metrics.shared import EVERY_S, Numbers, Shared

if TYPE_CHECKING:
    from oqto_platform.house import House

OBEYED_WITHIN_S = 5 * EVERY_S
LOOK_S = 0.05


class Meter:
    """In `app.state.meter` while the worker lives."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._shared: Shared
        self._resets: Resets

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Leave numbers for the other workers, and heed their resets, for as long as this one lives."""
        folder, hooks = self._house.state_dir / "metrics", self._house.hooks
        self._shared = Shared(folder, counts, hooks.counted)
        self._resets = Resets(folder, hooks.switch_on)
        app.state.meter = self
        publishing = asyncio.create_task(self._publish())
        try:
            yield
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
            self._shared.close()

    async def together(self) -> Numbers:
        """The numbers of all workers."""
        return await asyncio.to_thread(self._shared.together, self._shared.take())

    async def reset(self, plugin: str) -> bool:
        """Have `plugin` called again in every worker; false when one of them does not heed it in time."""
        number = await asyncio.to_thread(self._resets.ask, plugin)
        self._heed()
        try:
            async with asyncio.timeout(OBEYED_WITHIN_S):
                while (await self.together()).resets < number:  # noqa: ASYNC110 (a file has no event)
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            return False
        return True

    async def _publish(self) -> None:
        while True:
            self._heed()
            await self._shared.publish()
            await asyncio.sleep(EVERY_S)

    def _heed(self) -> None:
        self._resets.follow()
        self._shared.resets = self._resets.seen
