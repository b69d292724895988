"""Wallets inside wallets: groups, workspaces, top-ups, thresholds, and sums that a restart does not change."""

from __future__ import annotations

import asyncio
import resource
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oqto_plugin_eavs import control, core
from oqto_plugin_eavs.ledger import Bill, Facts, Ledger, Wallet
from oqto_plugin_eavs.notices import notice_of
from oqto_plugin_eavs.prices import Tokens
from oqto_plugin_eavs.rates import Rates
from oqto_plugin_eavs.store import Store
from oqto_plugin_eavs.tables import StoreFailed

from oqto_platform import clock
from oqto_platform.errors import BudgetExceeded, NotFound

CENT = 10_000_000
FACTS = Facts("a", "", "k", "p", "m", "chat")


def views(proxy, account="acc"):
    found = proxy.ask(control.ListWallets(account_id=proxy.name(account))).wallets
    return {view.kind: view for view in found}


def test_a_group_has_one_purse_for_its_accounts(proxy):
    keys = [proxy.key(f"s{n}", account=f"acc{n}") for n in range(2)]
    assert proxy.chat(keys[0], "[[usage 0 1000]]").status_code == 200
    accounts = tuple(proxy.name(f"acc{n}") for n in range(2))
    name = f"team{proxy.scope}"
    proxy.ask(control.SetGroup(name=name, accounts=accounts))
    proxy.ask(control.Limit(wallet=f"group:{name}", limit_nusd=1000 * 15_000 + CENT))
    refused = proxy.chat(keys[1], "hi")
    assert (refused.status_code, "this group" in refused.text) == (402, True)
    proxy.ask(control.SetGroup(name=name, accounts=accounts[:1]))
    assert proxy.chat(keys[1], "hi").status_code == 200
    assert views(proxy, "acc1")["account"].parent == "platform"
    assert proxy.chat(keys[0], "hi").status_code == 402


def test_a_group_of_an_account_that_nobody_knows_is_refused(proxy):
    with pytest.raises(NotFound, match="nobody"):
        proxy.ask(control.SetGroup(name="g", accounts=("nobody",)))


def test_a_top_up_counts_at_once_and_outlives_the_configuration(own_proxy):
    key = own_proxy.key(limit_usd=0.0001)
    assert own_proxy.chat(key, "hi").status_code == 402
    own_proxy.ask(control.Limit(wallet=f"session:{own_proxy.name('ses')}", limit_nusd=10**9))
    assert own_proxy.chat(key, "hi").status_code == 200
    own_proxy.kill()
    own_proxy.start()
    assert own_proxy.chat(own_proxy.key(limit_usd=0.0001), "hi").status_code == 200


def test_a_changed_default_reaches_wallets_that_no_admin_touched(proxy):
    proxy.key(limit_usd=1.0)
    proxy.key(limit_usd=2.0)
    assert views(proxy)["session"].limit_nusd == 2 * 10**9


def test_people_are_told_once_of_each_threshold_of_a_window(own_proxy):
    key, told = own_proxy.key(limit_usd=1.0), []
    for more in (49, 2, 1, 29, 15, 5):
        body = f"[[usage 0 {more * 667}]]"
        assert own_proxy.chat(key, body, max_tokens=10).status_code in (200, 402)
        told.append([alert.percent for alert in own_proxy.ask(control.Alerts()).alerts])
    assert told == [[], [50], [50], [50, 80], [50, 80, 95], [50, 80, 95, 100]]
    own_proxy.kill()
    own_proxy.start()
    assert own_proxy.chat(key, "hi", max_tokens=10).status_code == 402
    alerts = own_proxy.ask(control.Alerts()).alerts
    assert [alert.percent for alert in alerts] == [50, 80, 95, 100]
    assert (alerts[0].kind, alerts[0].session) == ("session", own_proxy.name("ses"))
    own_proxy.ask(control.Limit(wallet=alerts[0].wallet, limit_nusd=2 * 10**9))
    assert own_proxy.chat(key, f"[[usage 0 {31 * 2 * 667}]]", max_tokens=10).status_code == 200
    assert own_proxy.ask(control.Alerts(after=alerts[-1].number)).alerts[0].percent == 80


def test_a_refused_call_tells_that_the_money_is_at_its_end(proxy):
    proxy.chat(proxy.key(limit_usd=0.0001), "hi")
    (alert,) = proxy.ask(control.Alerts(account_id=proxy.name("acc"))).alerts
    assert (alert.percent, alert.spent_nusd) == (100, 0)
    assert proxy.ask(control.Alerts(after=alert.number, account_id=proxy.name("acc"))).alerts == []


async def test_alerts_reach_the_audit_log_once(tmp_path, monkeypatch):
    alert = control.Alert(
        number=7, at=1.0, wallet="session:s", kind="session", name="", account="a", session="s", percent=80,
        spent_nusd=8 * 10**8, limit_nusd=10**9, window="",
    )  # fmt: skip

    async def ask(_, request, **__):
        return control.AlertsReply(alerts=[alert] if request.after < 7 else [])

    monkeypatch.setattr(control, "ask", ask)
    house = FakeHouse(tmp_path)
    await core.record_alerts(house)
    await core.record_alerts(house)
    ((event, fields),) = house.audited
    assert (event, fields["target"], fields["percent"], fields["session"]) == (
        "budget_threshold",
        "session:s",
        80,
        "s",
    )
    ((session, notice),) = house.told
    assert session == "s"
    assert (notice.level, notice.message) == (
        "info",
        "80 % of the budget of this session is spent: $0.80 of $1.00.",
    )


def test_what_others_spent_is_told_to_nobody():
    alert = control.Alert(
        number=7, at=1.0, wallet="platform", kind="platform", name="", account="a", session="s", percent=100,
        spent_nusd=9 * 10**8, limit_nusd=10**9, window="2026-11",
    )  # fmt: skip
    text = "The budget of the whole platform covers no more calls. An admin can raise the limit."
    assert (notice_of(alert).level, notice_of(alert).message) == ("warning", text)


class FakeHouse:
    def __init__(self, folder):
        self.data_dir = self.state_dir = folder
        self.audited, self.told = [], []

    def tell(self, session_id, event):
        self.told.append((session_id, event))
        return True

    def settings(self):
        from oqto_plugin_eavs.config import Eavs

        return Eavs()

    def audit(self, event, **fields):
        self.audited.append((event, fields))


class Town:
    """Three accounts that move between two groups while they spend."""

    def __init__(self, folder):
        self.folder, self.count = Path(folder), 0
        self.open = []

    async def start(self):
        self.store = Store(self.folder / "ledger.db", is_durable=False)
        self.ledger = Ledger(self.store)
        await self.ledger.load()
        platform = self.ledger.wallets["platform"]
        for name in ("group:x", "group:y"):
            await self._put(name, "group", platform)
        for number in range(3):
            account = await self._put(f"account:{number}", "account", platform)
            await self._put(f"session:{number}", "session", account)

    async def _put(self, name, kind, parent):
        known = self.ledger.wallets.get(name)
        return known or await self.ledger.put_wallet(Wallet(name, kind, parent, window="day"))

    async def spend(self, who, amount):
        self.count += 1
        wallet = self.ledger.wallets[f"session:{who}"]
        call = await self.ledger.open_call(f"r{self.count}", wallet, amount, FACTS)
        if amount % 3:
            self.ledger.close_call(call, Bill(Tokens(), amount, "done", 200))
        else:
            self.open.append(call)

    async def limit(self, who, amount):
        window = ("total", "day", "week")[amount % 3]
        await self.ledger.set_limit(f"account:{who}", 10_000 + amount, window, is_custom=amount > 50)

    async def rates(self, who, amount):
        await self.ledger.set_rates(f"account:{who}", Rates(concurrent=amount and 100 + amount))

    async def rename(self, who, amount):
        await self.ledger.rename(self.ledger.wallets[f"account:{who}"], f"name {amount}")

    async def move(self, who, amount):
        parent = self.ledger.wallets[("platform", "group:x", "group:y")[amount % 3]]
        await self.ledger.move(self.ledger.wallets[f"account:{who}"], parent)

    def sums(self):
        return {w.id: (w.spent, w.total, w.held, w.calls) for w in self.ledger.wallets.values()}

    def limits(self):
        found = self.ledger.wallets.values()
        kinds = {w.id: (w.limit_nusd, w.window, w.is_custom, w.name, w.parent and w.parent.id) for w in found}
        return kinds, {w.id: w.flow.rates for w in found if w.flow and not w.flow.rates.is_open}

    def check(self):
        for wallet in self.ledger.wallets.values():
            children = [w for w in self.ledger.wallets.values() if w.parent is wallet]
            if children and wallet.kind != "session":
                assert wallet.total == sum(child.total for child in children)
                assert wallet.held == sum(child.held for child in children)
                assert wallet.calls == sum(child.calls for child in children)


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["spend", "move"]), st.integers(0, 2), st.integers(0, 99)), max_size=20
    )
)
@settings(max_examples=25, deadline=None)
def test_sums_follow_accounts_between_groups_and_a_restart_finds_the_same(steps):
    async def history():
        with tempfile.TemporaryDirectory() as folder:
            town = Town(folder)
            await town.start()
            for name, who, amount in steps:
                await getattr(town, name)(who, amount)
                town.check()
            for call in town.open:
                town.ledger.close_call(call, Bill(Tokens(), call.hold, "done", 200))
            before = town.sums()
            await town.ledger.drain()
            await town.store.close()
            await town.start()
            assert {name: found[:2] for name, found in town.sums().items()} == {
                name: found[:2] for name, found in before.items()
            }
            await town.store.close()

    asyncio.run(history())


CHANGES = st.tuples(
    st.sampled_from(["spend", "spend", "move", "limit", "limit", "rates", "rename"]),
    st.integers(0, 2),
    st.integers(0, 99),
)


@given(turns=st.lists(st.lists(CHANGES, max_size=6), max_size=5))
@settings(max_examples=25, deadline=None)
def test_changes_at_the_same_time_lose_nothing_and_a_restart_finds_the_same(turns):
    async def history():
        with tempfile.TemporaryDirectory() as folder:
            town = Town(folder)
            await town.start()
            for turn in turns:
                await asyncio.gather(*(getattr(town, name)(who, amount) for name, who, amount in turn))
                town.check()
                running = {call for wallet in town.ledger.wallets.values() for call in wallet.open_calls}
                for wallet in town.ledger.wallets.values():
                    below = [call for call in running if wallet in call.wallet.chain()]
                    assert wallet.flow is None or wallet.flow.running == len(below)
            for call in town.open:
                town.ledger.close_call(call, Bill(Tokens(), call.hold, "done", 200))
            sums, limits = town.sums(), town.limits()
            await town.ledger.drain()
            await town.store.close()
            await town.start()
            assert {name: found[:2] for name, found in town.sums().items()} == {
                name: found[:2] for name, found in sums.items()
            }
            assert town.limits() == limits
            await town.store.close()

    asyncio.run(history())


@pytest.mark.parametrize("name", ["limit", "rates"])
async def test_a_limit_that_could_not_be_written_is_not_in_force(tmp_path, monkeypatch, name):
    town = Town(tmp_path)
    await town.start()
    before, write = town.limits(), town.store.write

    def fail(*statements):
        done = asyncio.get_running_loop().create_future()
        done.set_exception(StoreFailed("the disk is full"))
        return done

    monkeypatch.setattr(town.store, "write", fail)
    with pytest.raises(StoreFailed):
        await getattr(town, name)(1, 60)
    assert town.limits() == before
    monkeypatch.setattr(town.store, "write", write)
    await getattr(town, name)(1, 60)
    assert town.limits() != before
    await town.store.close()


async def test_a_limit_is_set_to_the_end_though_whoever_asked_has_left(tmp_path):
    town = Town(tmp_path)
    await town.start()
    asking = asyncio.create_task(town.limit(1, 60))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    await town.limit(2, 60)  # what was written first is in force by then
    now = town.limits()
    assert now[0]["account:1"][0] == 10_060
    await town.store.close()
    await town.start()
    assert town.limits() == now
    await town.store.close()


def test_a_window_opens_again_after_a_jump_of_the_clock_and_a_restart_agrees(tmp_path, monkeypatch):
    day = 86_400.0
    now = [20_000 * day + 100]
    monkeypatch.setattr(clock, "now", lambda: now[0])

    async def history():
        store = Store(tmp_path / "ledger.db", is_durable=False)
        ledger = Ledger(store)
        await ledger.load()
        wallet = await ledger.put_wallet(
            Wallet("account:a", "account", ledger.wallets["platform"], limit_nusd=100, window="day")
        )
        call = await ledger.open_call("r1", wallet, 100, FACTS)
        ledger.close_call(call, Bill(Tokens(), 100, "done", 200))
        with pytest.raises(BudgetExceeded):
            await ledger.open_call("r2", wallet, 1, FACTS)
        now[0] -= 3 * day
        with pytest.raises(BudgetExceeded):
            await ledger.open_call("r3", wallet, 1, FACTS)
        now[0] += 4 * day
        await ledger.open_call("r4", wallet, 60, FACTS)
        now[0] -= day  # the clock was set right again: the newer window stays
        with pytest.raises(BudgetExceeded):
            await ledger.open_call("r5", wallet, 60, FACTS)
        await store.close()
        store = Store(tmp_path / "ledger.db", is_durable=False)
        again = Ledger(store)
        assert await again.load() == 1
        assert again.wallets["account:a"].spent == 100  # today's, by the clock as it is now
        assert again.wallets["account:a"].total == 160
        await store.close()

    asyncio.run(history())


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/p/fake/v1/chat/completions", ("type", "api_error")),
        ("/p/claude/v1/messages", ("type", "api_error")),
        ("/p/gemini/v1beta/models/fake-1:generateContent", ("status", "UNAVAILABLE")),
    ],
)
def test_a_full_disk_lets_no_call_leave_and_a_free_one_lets_it(proxy, provider, path, kind):
    headers, pid = {"x-api-key": proxy.key()}, proxy.process.pid
    message = {"role": "user", "content": "hi"}
    body = {
        "model": "fake-1",
        "max_tokens": 5,
        "messages": [message],
        "contents": [{"parts": [{"text": "hi"}]}],
    }
    assert proxy.client.post(path, json=body, headers=headers).status_code == 200
    before, sent = proxy.rows(), len(provider.requests)
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))
    try:
        refused = proxy.client.post(path, json=body, headers=headers)
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
    assert (refused.status_code, len(provider.requests)) == (503, sent)
    assert refused.json()["error"][kind[0]] == kind[1]
    assert "ledger cannot be written" in refused.json()["error"]["message"]
    assert proxy.rows() == before
    assert views(proxy)["session"].held_nusd == 0
    assert proxy.client.post(path, json=body, headers=headers).status_code == 200
