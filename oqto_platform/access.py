"""Who may do what: the one place that every route and the mux ask."""

from __future__ import annotations

from oqto_platform.errors import Forbidden, NotFound
from oqto_platform.hooks import Hooks
from oqto_platform.types import Identity


class Access:
    """The core's own rule, then the hook `authorize`, which can only narrow."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    async def check(self, identity: Identity, action: str, target: str, *, owner: str | None = None) -> None:
        """
        Raise unless `identity` may do `action` to `target`.

        What belongs to somebody else is `NotFound`: a stranger does not learn that it exists. The admin
        socket acts for everybody.
        """
        if owner is not None and owner != identity.account_id and identity.door != "admin-socket":
            raise NotFound(f"there is no such {action.partition('.')[0]}")
        if self._hooks.implements("authorize"):
            await self._hooks.call.authorize(identity, action, target)

    async def check_admin(self, identity: Identity, action: str, target: str = "") -> None:
        """Raise `Forbidden` unless `identity` is an admin."""
        if not identity.is_admin:
            raise Forbidden("only an admin may do this")
        await self.check(identity, action, target)
