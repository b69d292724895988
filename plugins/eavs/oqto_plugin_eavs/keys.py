"""Virtual keys: minted once, kept as a hash, checked with one look-up; and how often each may call."""

from __future__ import annotations

import hashlib
import secrets
import string
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import msgspec

from oqto_platform import clock
from oqto_platform.types import new_id

if TYPE_CHECKING:
    from .ledger import Ledger, Wallet
    from .store import Store

PREFIX = "eavs-"
ALPHABET = string.ascii_letters + string.digits
LENGTH = 32
KEPT_PER_WALLET = 8
EARLY_S = 1e-9
INSERT = """INSERT INTO keys (hash, id, wallet, name, created_at, expires_at, rpm, models, providers)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""


@dataclass(slots=True, eq=False)
class Key:
    """A virtual key without its secret. `rpm=0` means no limit."""

    id: str
    hash: bytes
    wallet: Wallet
    name: str = ""
    rpm: int = 0
    created_at: float = 0.0
    expires_at: float | None = None
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    account: str = ""
    workspace: str = ""
    arrives_at: float = field(default=0.0)

    def wait_s(self, now: float) -> float:
        """
        Seconds until the next call may come; 0 takes a place. A burst of one minute's worth is fine.

        Generic cell rate algorithm: `arrives_at` is when an even flow would have used up what was taken.
        """
        if not self.rpm:
            return 0.0
        arrives = max(self.arrives_at, now)
        if (early := arrives + 60.0 / self.rpm - now - 60.0) > EARLY_S:
            return early
        self.arrives_at = arrives + 60.0 / self.rpm
        return 0.0

    def allows_model(self, model: str) -> bool:
        """Whether this key may call `model`; no list means any."""
        return not self.models or any(fnmatchcase(model, pattern) for pattern in self.models)

    def allows_provider(self, provider: str) -> bool:
        """Whether this key may call `provider`; no list means any."""
        return not self.providers or provider in self.providers


def digest(secret: str) -> bytes:
    """What is stored of a key. Its 190 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


class Keys:
    """All keys that are in force, by hash."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store, self._ledger = store, ledger
        self._by_hash: dict[bytes, Key] = {}

    async def load(self) -> None:
        """Read the keys that are in force."""
        rows = await self._store.read(
            "SELECT hash, id, wallet, name, rpm, created_at, expires_at, models, providers FROM keys WHERE revoked_at IS NULL"
        )
        for key_hash, identity, wallet, name, rpm, created, expires, models, providers in rows:
            owner = self._ledger.wallets[wallet]
            lists = (tuple(msgspec.json.decode(models)), tuple(msgspec.json.decode(providers)))
            self._by_hash[key_hash] = _named(
                Key(identity, key_hash, owner, name, rpm or 0, created, expires, *lists)
            )

    def find(self, secret: str) -> Key | None:
        """The key of a secret, unless it is unknown, revoked or expired."""
        key = self._by_hash.get(digest(secret))
        if key is None or (key.expires_at is not None and key.expires_at <= clock.now()):
            return None
        return key

    def of(self, wallet: Wallet) -> list[Key]:
        """The keys of a wallet, oldest first."""
        return sorted((k for k in self._by_hash.values() if k.wallet is wallet), key=lambda k: k.created_at)

    def all(self) -> list[Key]:
        """Every key in force."""
        return list(self._by_hash.values())

    async def mint(
        self,
        wallet: Wallet,
        *,
        name: str,
        rpm: int,
        models: tuple[str, ...] = (),
        expires_at: float | None = None,
    ) -> str:
        """A new key, shown this once. The oldest of a wallet go when it has many."""
        secret = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
        key = _named(Key(new_id("key"), digest(secret), wallet, name, rpm, clock.now(), expires_at, models))
        row = (
            key.hash,
            key.id,
            wallet.id,
            name,
            key.created_at,
            expires_at,
            rpm,
            msgspec.json.encode(models).decode(),
            "[]",
        )
        await self._store.write((INSERT, row))
        self._by_hash[key.hash] = key
        for old in self.of(wallet)[:-KEPT_PER_WALLET]:
            await self.revoke(old)
        return secret

    async def revoke(self, key: Key) -> None:
        """End a key at once; calls in flight go on."""
        self._by_hash.pop(key.hash, None)
        await self._store.write(("UPDATE keys SET revoked_at = ? WHERE hash = ?", (clock.now(), key.hash)))


def _named(key: Key) -> Key:
    for wallet in key.wallet.chain():
        if wallet.kind == "account":
            key.account = wallet.id.removeprefix("account:")
    key.workspace = key.wallet.name
    return key
