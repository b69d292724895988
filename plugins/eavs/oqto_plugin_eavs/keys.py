"""Virtual keys: minted once, kept as a hash, checked with one look-up; and what each may be used for."""

from __future__ import annotations

import hashlib
import secrets
import string
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import msgspec

from oqto_platform import clock
from oqto_platform.errors import Invalid

from .names import new_name
from .rates import Flow, Rates
from .wallets import account_of, workspace_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .ledger import Ledger
    from .store import Statement, Store
    from .wallets import Wallet

PREFIX = "eavs-"
ALPHABET = string.ascii_letters + string.digits
LENGTH = 32
KEPT_PER_SESSION = 8
INSERT = """INSERT INTO keys (hash, id, wallet, name, created_at, expires_at, rpm, models, providers, grants)
VALUES (?, ?, ?, ?, ?, ?, 0, '[]', '[]', ?)"""
EXPIRE = "UPDATE keys SET expires_at = ? WHERE hash = ?"
REVOKE = "UPDATE keys SET revoked_at = ? WHERE hash = ?"


class Grants(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a key may be used for: glob patterns, where blocking wins and no list means any; and how often."""

    models: tuple[str, ...] = ()
    blocked_models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    rates: Rates = Rates()

    def allows_model(self, wanted: str, model: str) -> bool:
        """Whether `wanted` may be called, which is an alias of `model` or the same."""
        if _is_in(wanted, self.blocked_models) or _is_in(model, self.blocked_models):
            return False
        return not self.models or _is_in(wanted, self.models) or _is_in(model, self.models)

    def allows_provider(self, provider: str) -> bool:
        """Whether `provider` may be called."""
        return not self.providers or _is_in(provider, self.providers)


NO_LIMITS = Grants()


def _is_in(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


@dataclass(slots=True, eq=False)
class Key:
    """A virtual key without its secret. `flow` counts its own limits, when it has any."""

    id: str
    hash: bytes
    wallet: Wallet
    name: str = ""
    created_at: float = 0.0
    expires_at: float | None = None
    grants: Grants = NO_LIMITS
    flow: Flow | None = None

    @property
    def account(self) -> str:
        """The account that it belongs to; empty for a key of the platform or of a group."""
        return account_of(self.wallet)

    @property
    def workspace(self) -> str:
        """The folder that it belongs to; empty without one."""
        return workspace_of(self.wallet)

    @property
    def is_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= clock.now()


def digest(secret: str) -> bytes:
    """What is stored of a key. Its 190 random bits need no slow hash."""
    return hashlib.sha256(secret.encode(errors="replace")).digest()


class Keys:
    """All keys that are in force, by hash."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store, self._ledger = store, ledger
        self._by_hash: dict[bytes, Key] = {}
        self._names: set[str] = set()
        self.on_revoke: list[Callable[[bytes], None]] = []

    async def load(self) -> None:
        """Read the keys that are in force."""
        rows = await self._store.read(
            "SELECT hash, id, wallet, name, created_at, expires_at, rpm, models, grants FROM keys WHERE revoked_at IS NULL"
        )
        for key_hash, identity, wallet, name, created, expires, rpm, models, grants in rows:
            owner, granted = self._ledger.wallets[wallet], msgspec.json.decode(grants, type=Grants)
            if rpm or models != "[]":  # a row of the first version of the file
                granted = Grants(models=tuple(msgspec.json.decode(models)), rates=Rates(rpm=rpm or 0))
            self._put(Key(identity, key_hash, owner, name, created, expires, granted))
        self._names = {row[0] for row in await self._store.read("SELECT id FROM keys")}

    def _put(self, key: Key) -> None:
        key.flow = None if key.grants.rates.is_open else Flow(key.grants.rates)
        self._by_hash[key.hash] = key

    def flow_of(self, key_id: str) -> Flow | None:
        """The limits of a key, by its id."""
        found = self.named(key_id)
        return found.flow if found else None

    def find(self, secret: str) -> Key | None:
        """The key of a secret, unless it is unknown, revoked or expired."""
        return self.by_hash(digest(secret))

    def by_hash(self, key_hash: bytes) -> Key | None:
        """The key of a hash, unless it is unknown, revoked or expired."""
        key = self._by_hash.get(key_hash)
        return None if key is None or (key.expires_at is not None and key.is_expired) else key

    def named(self, key_id: str) -> Key | None:
        """The key with that id, in force or expired."""
        return next((key for key in self._by_hash.values() if key.id == key_id), None)

    def of(self, wallet: Wallet) -> list[Key]:
        """The keys of a wallet, oldest first."""
        return sorted((k for k in self._by_hash.values() if k.wallet is wallet), key=lambda k: k.created_at)

    def all(self) -> list[Key]:
        """Every key that is not revoked."""
        return list(self._by_hash.values())

    def new_id(self) -> str:
        """A fresh id, taken from now on."""
        name = new_name(self._names)
        self._names.add(name)
        return name

    async def mint(
        self,
        wallet: Wallet,
        *,
        name: str,
        identity: str = "",
        grants: Grants = NO_LIMITS,
        expires_at: float | None = None,
        with_it: tuple[Statement, ...] = (),
    ) -> tuple[Key, str]:
        """
        A new key and its secret, shown this once. The oldest of a session go when it has many.

        `with_it` is written before the key, in the same transaction.
        """
        if expires_at is not None and expires_at <= clock.now():
            raise Invalid("expires_at: this time is over", field="expires_at")
        secret = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
        key = Key(identity or self.new_id(), digest(secret), wallet, name, clock.now(), expires_at, grants)
        granted = msgspec.json.encode(grants).decode()
        row = (key.hash, key.id, wallet.id, name, key.created_at, expires_at, granted)
        await self._store.write(*with_it, (INSERT, row))
        self._put(key)
        for old in self.of(wallet)[:-KEPT_PER_SESSION] if wallet.kind == "session" else ():
            await self.revoke(old)
        return key, secret

    async def rotate(self, key: Key, grace_s: float) -> tuple[Key, str]:
        """A new key in the place of `key`, with the same wallet and grants; the old one works `grace_s` longer."""
        expires_at = key.expires_at
        fresh, secret = await self.mint(key.wallet, name=key.name, grants=key.grants, expires_at=expires_at)
        fresh.flow = key.flow  # one limit for both
        if grace_s <= 0:
            await self.revoke(key)
            return fresh, secret
        end = clock.now() + grace_s
        key.expires_at = end if expires_at is None else min(end, expires_at)
        for listener in self.on_revoke:
            listener(key.hash)
        await self._store.write((EXPIRE, (key.expires_at, key.hash)))
        return fresh, secret

    async def revoke(self, key: Key) -> None:
        """End a key at once; calls in flight go on."""
        self._by_hash.pop(key.hash, None)
        for listener in self.on_revoke:
            listener(key.hash)
        await self._store.write((REVOKE, (clock.now(), key.hash)))
