"""What the core and the admin may ask about wallets and keys."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from oqto_platform import clock
from oqto_platform.errors import Invalid, NotFound
from oqto_platform.types import new_id

from . import control
from .rates import Flow, Rates
from .wallets import PLATFORM, Wallet, session_of

if TYPE_CHECKING:
    from .keys import Key, Keys
    from .ledger import Ledger
    from .store import Store
    from .wallets import Window

SETTLE_S = 10.0
MOST_SESSIONS = 100
EXAMPLES = "use platform, group:NAME, account:ID, workspace:ACCOUNT:PATH, session:ID or key:ID"


class WalletDesk:
    """Makes wallets on first use, mints keys on them, and says what they hold."""

    def __init__(self, store: Store, ledger: Ledger, keys: Keys) -> None:
        self._store, self._ledger, self._keys = store, ledger, keys
        self._making = asyncio.Lock()

    # Sessions.

    async def mint(self, ask: control.Mint) -> control.Minted:
        """A key on the session's one wallet, whose limits are those of the configuration unless an admin set them."""
        async with self._making:
            account = await self._account_wallet(ask)
            parent = await self._workspace_wallet(account, ask.workspace)
            wallet = self._ledger.wallets.get(f"session:{ask.session_id}")
            if wallet is None:
                return await self._first_key(ask, parent)
            await self._follow(wallet, ask, parent)
        _, secret = await self._keys.mint(wallet, name=ask.name)
        return _minted(wallet, secret)

    async def _first_key(self, ask: control.Mint, parent: Wallet) -> control.Minted:
        """Wallet and key in one transaction: a start waits for the disk once."""
        identity, rates = f"session:{ask.session_id}", _rates(ask)
        wallet = Wallet(identity, "session", parent, ask.workspace, new_id("res"), ask.limit_nusd)
        wallet.flow = None if rates.is_open else Flow(rates)
        _, secret = await self._keys.mint(wallet, name=ask.name, with_it=(self._ledger.draft(wallet),))
        return _minted(self._ledger.admit(wallet), secret)

    async def _follow(self, wallet: Wallet, ask: control.Mint, parent: Wallet) -> None:
        """The configuration may have changed since the session began."""
        await self._known_or_new(wallet.id, "session", parent, ask.workspace, ask.limit_nusd)
        if not wallet.is_custom and _rates(ask) != (wallet.flow.rates if wallet.flow else Rates()):
            await self._ledger.set_rates(wallet.id, _rates(ask))

    async def _account_wallet(self, ask: control.Mint) -> Wallet:
        identity, platform = f"account:{ask.account_id}", self._ledger.wallets[PLATFORM]
        known = self._ledger.wallets.get(identity)
        parent = known.parent if known and known.parent else platform
        name = ask.name or ask.account_id
        limit, window = ask.account_limit_nusd, ask.account_window
        wallet = await self._known_or_new(identity, "account", parent, name, limit, window)
        if wallet.name != name:
            await self._ledger.rename(wallet, name)
        return wallet

    async def _workspace_wallet(self, account: Wallet, path: str) -> Wallet:
        if not path:
            return account
        identity = f"workspace:{account.id.removeprefix('account:')}:{path}"
        known = self._ledger.wallets.get(identity)
        return known or await self._ledger.put_wallet(Wallet(identity, "workspace", account, path))

    async def _known_or_new(
        self, identity: str, kind: str, parent: Wallet, name: str, limit: int | None, window: Window = "total"
    ) -> Wallet:
        known = self._ledger.wallets.get(identity)
        if known is None:
            return await self._ledger.put_wallet(Wallet(identity, kind, parent, name, "", limit, window))
        await self._ledger.move(known, parent)
        if not known.is_custom and (known.limit_nusd, known.window) != (limit, window):
            await self._ledger.set_limit(identity, limit, window)
        return known

    async def settle(self, ask: control.Settle) -> control.Settled:
        """End the keys and the calls of a session, and say what it spent."""
        wallet = self._ledger.wallets.get(f"session:{ask.session_id}")
        if wallet is None:
            return control.Settled(spent_nusd=0)
        for key in self._keys.of(wallet):
            await self._keys.revoke(key)
        return control.Settled(spent_nusd=await self._ledger.settle(wallet, SETTLE_S))

    async def usage(self, ask: control.AccountUsage) -> control.UsageReply:
        """What an account spent in its window, and each of its sessions ever."""
        wallet = self._ledger.wallets.get(f"account:{ask.account_id}")
        if wallet is None:
            return control.UsageReply()
        wallet.roll(clock.now())
        members = [
            w for w in self._ledger.wallets.values() if w.kind == "session" and w.of_kind("account") is wallet
        ]
        return control.UsageReply(
            spent_nusd=wallet.spent,
            limit_nusd=wallet.limit_nusd,
            calls=wallet.calls,
            sessions={w.id.removeprefix("session:"): w.total for w in members},
        )

    # Wallets.

    async def limit(self, ask: control.Limit) -> control.Done:
        """Change a limit; from then on the configuration leaves this wallet alone."""
        async with self._making:
            wallet = await self.owner(ask.wallet)
        await self._ledger.set_limit(wallet.id, ask.limit_nusd, ask.window, is_custom=True)
        if ask.rates is not None:
            await self._ledger.set_rates(wallet.id, ask.rates)
        return control.Done()

    async def owner(self, identity: str) -> Wallet:
        """The wallet of that name. Those of accounts, workspaces and groups are made when they are first named."""
        if (known := self._ledger.wallets.get(identity)) is not None:
            return known
        kind, _, rest = identity.partition(":")
        platform = self._ledger.wallets[PLATFORM]
        if kind == "group" and rest:
            return await self._ledger.put_wallet(Wallet(identity, "group", platform, rest))
        if kind == "account" and (named := self._account_named(rest)) is not None:
            return named
        if kind == "account" and rest.startswith("acc_"):
            return await self._ledger.put_wallet(Wallet(identity, "account", platform, rest))
        account, _, path = rest.partition(":")
        if kind == "workspace" and account and path.startswith("/"):
            return await self._workspace_wallet(await self.owner(f"account:{account}"), path)
        raise NotFound(
            f"there is no wallet {identity!r}; {EXAMPLES} (ACCOUNT: an id, or a name that has started a session)"
        )

    def _account_named(self, name: str) -> Wallet | None:
        return next(
            (w for w in self._ledger.wallets.values() if w.kind == "account" and w.name == name), None
        )

    async def set_group(self, ask: control.SetGroup) -> control.WalletsReply:
        """Put exactly these accounts into a group, with what they spent in its window."""
        if not ask.name or ":" in ask.name:
            raise Invalid(f"group name {ask.name!r}: use a word without a colon", field="name")
        async with self._making:
            group = await self.owner(f"group:{ask.name}")
            wanted = [await self.owner(f"account:{account}") for account in ask.accounts]
            for wallet in [w for w in self._ledger.wallets.values() if w.parent is group]:
                if wallet not in wanted:
                    await self._ledger.move(wallet, self._ledger.wallets[PLATFORM])
            for wallet in wanted:
                await self._ledger.move(wallet, group)
        return control.WalletsReply(wallets=[wallet_view(wallet) for wallet in [group, *wanted]])

    async def wallets(self, ask: control.ListWallets) -> control.WalletsReply:
        """Wallets, each in its current window."""
        for wallet in self._ledger.wallets.values():
            wallet.roll(clock.now())
        account = self._ledger.wallets.get(f"account:{ask.account_id}")
        if not ask.account_id:
            found = [w for w in self._ledger.wallets.values() if w.kind != "session"]
        elif account is None:
            found = [self._ledger.wallets[PLATFORM]]
        else:
            found = [*account.chain(), *self._below(account, ask.session_id)]
        return control.WalletsReply(wallets=[wallet_view(wallet) for wallet in found])

    def _below(self, account: Wallet, session_id: str) -> list[Wallet]:
        below = [w for w in self._ledger.wallets.values() if w is not account and account in w.chain()]
        sessions = sorted((w for w in below if w.kind == "session"), key=lambda w: -w.total)[:MOST_SESSIONS]
        if session_id:
            sessions = [w for w in below if w.id == f"session:{session_id}"]
        return [*(w for w in below if w.kind != "session"), *sessions]

    # Keys.

    async def create_key(self, ask: control.CreateKey) -> control.CreatedReply:
        """A key for a program, a workspace or a person."""
        if ask.owner.startswith("session:"):
            raise Invalid("owner: sessions get their keys when they start", field="owner")
        async with self._making:
            wallet, identity = await self.owner(ask.owner), self._keys.new_id()
            if ask.limit_nusd is not None:
                own = Wallet(f"key:{identity}", "key", wallet, ask.name, "", ask.limit_nusd, ask.window)
                wallet = await self._ledger.put_wallet(own)
        key, secret = await self._keys.mint(
            wallet, name=ask.name, identity=identity, grants=ask.grants, expires_at=ask.expires_at
        )
        return control.CreatedReply(secret=secret, key=key_view(key))

    async def rotate_key(self, ask: control.RotateKey) -> control.CreatedReply:
        """Another secret in the place of one that may be known to others."""
        key, secret = await self._keys.rotate(self._key(ask.key_id), ask.grace_s)
        return control.CreatedReply(secret=secret, key=key_view(key))

    async def list_keys(self, ask: control.ListKeys) -> control.KeysReply:
        """Keys that are not revoked, of everybody or of one account."""
        found = [key for key in self._keys.all() if not ask.account_id or key.account == ask.account_id]
        return control.KeysReply(keys=[key_view(key) for key in found])

    async def revoke(self, ask: control.Revoke) -> control.Done:
        """End a key."""
        key = self._key(ask.key_id)
        if ask.account_id and key.account != ask.account_id:
            raise NotFound(f"there is no key {ask.key_id!r} in force")
        await self._keys.revoke(key)
        return control.Done()

    def _key(self, key_id: str) -> Key:
        if (found := self._keys.named(key_id)) is None:
            raise NotFound(f"there is no key {key_id!r} in force")
        return found

    async def alerts(self, ask: control.Alerts) -> control.AlertsReply:
        """What people are to be told, oldest first, the newest `most` of them."""
        fields = control.Alert.__struct_fields__
        rows = await self._store.read(
            f"SELECT {', '.join(fields)} FROM alerts WHERE number > ? AND (? = '' OR account = ?)"  # noqa: S608 fixed words
            " ORDER BY number DESC LIMIT ?",
            (ask.after, ask.account_id, ask.account_id, ask.most),
        )
        found = [control.Alert(**dict(zip(fields, row, strict=True))) for row in reversed(rows)]
        return control.AlertsReply(alerts=found)


def _rates(ask: control.Mint) -> Rates:
    return msgspec.structs.replace(ask.rates, rpm=ask.rates.rpm or ask.rpm)


def _minted(wallet: Wallet, secret: str) -> control.Minted:
    return control.Minted(
        key=secret, reservation_id=wallet.reservation, limit_nusd=wallet.limit_nusd, spent_nusd=wallet.total
    )


def key_view(key: Key) -> control.KeyView:
    """A key as it may be shown."""
    own, wallet = key.grants.rates, key.wallet.flow.rates if key.wallet.flow else Rates()
    return control.KeyView(
        id=key.id,
        owner=key.wallet.parent.id if key.wallet.kind == "key" and key.wallet.parent else key.wallet.id,
        session=session_of(key.wallet),
        account=key.account,
        workspace=key.workspace,
        name=key.name,
        rpm=min(filter(None, (own.rpm, wallet.rpm)), default=0),
        created_at=key.created_at,
        expires_at=key.expires_at,
        spent_nusd=key.wallet.spent,
        limit_nusd=key.wallet.limit_nusd,
        window=key.wallet.window,
        grants=key.grants,
    )


def wallet_view(wallet: Wallet) -> control.WalletView:
    """A wallet as it is shown."""
    return control.WalletView(
        id=wallet.id,
        kind=wallet.kind,
        name=wallet.name,
        parent=wallet.parent.id if wallet.parent else "",
        limit_nusd=wallet.limit_nusd,
        window=wallet.window,
        spent_nusd=wallet.spent,
        held_nusd=wallet.held,
        total_nusd=wallet.total,
        calls=wallet.calls,
        open_calls=len(wallet.open_calls),
        is_custom=wallet.is_custom,
        rates=wallet.flow.rates if wallet.flow else Rates(),
    )
