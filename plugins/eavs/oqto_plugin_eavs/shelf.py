"""The providers in the ledger's file: everything in the open but the secrets, which are sealed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import structlog

from oqto_platform import clock

from .providers import LOST, Provider
from .vault import VaultFailed

if TYPE_CHECKING:
    from .store import Store
    from .vault import Vault

log = structlog.get_logger("oqto.eavs")

ENV = "env:"
SAVE = """INSERT INTO providers (name, source, body, secret, updated_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT(name) DO UPDATE SET source = excluded.source, body = excluded.body, secret = excluded.secret,
updated_at = excluded.updated_at"""


class _Secrets(msgspec.Struct, omit_defaults=True):
    api_key: str = ""
    headers: dict[str, str] = {}


class Shelf:
    """Keeps providers. `references` are the `env:NAME` that keys were read from, by provider."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store, self._vault = store, vault
        self.references: dict[str, str] = {}

    async def load(self) -> list[Provider]:
        """All that were saved. One whose secrets cannot be opened has a key that says so wherever it is used."""
        rows = await self._store.read("SELECT name, source, body, secret FROM providers")
        return [self._opened(*row) for row in rows]

    def _opened(self, name: str, source: str, body: bytes, sealed: bytes) -> Provider:
        provider = msgspec.json.decode(body, type=Provider)
        if provider.api_key:
            self.references[name] = provider.api_key
        try:
            secrets = _secrets(self._vault.open(name, sealed))
        except VaultFailed as exc:
            log.error("a stored key cannot be read", provider=name, cause=exc.detail)
            secrets = _Secrets(LOST + exc.detail)
        headers = secrets.headers or provider.headers
        return msgspec.structs.replace(provider, api_key=secrets.api_key, headers=headers, source=source)

    async def save(self, provider: Provider, reference: str = "") -> None:
        """Write it. `reference` is the `env:NAME` that its key was read from."""
        secrets = _Secrets(provider.api_key, provider.headers)
        text = msgspec.json.encode(secrets).decode() if provider.api_key or provider.headers else ""
        sealed = await asyncio.to_thread(self._vault.seal, provider.name, text)
        body = msgspec.json.encode(msgspec.structs.replace(provider, api_key=reference, headers={}))
        await self._store.write((SAVE, (provider.name, provider.source, body, sealed, clock.now())))
        self.references.pop(provider.name, None)
        if reference:
            self.references[provider.name] = reference

    async def drop(self, name: str) -> None:
        """Forget one."""
        await self._store.write(("DELETE FROM providers WHERE name = ?", (name,)))
        self.references.pop(name, None)


def _secrets(text: str) -> _Secrets:
    try:
        return msgspec.json.decode(text, type=_Secrets) if text else _Secrets()
    except msgspec.DecodeError:  # as it was kept before headers were secrets: the key alone
        return _Secrets(text)
