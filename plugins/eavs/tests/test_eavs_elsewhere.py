"""An EAVS on another machine: keys are made and ended there, one purse per session, nothing started here."""

from __future__ import annotations

import http.server
import json
import threading
from types import SimpleNamespace

import pytest
from oqto_plugin_eavs import checkup, core, elsewhere
from oqto_plugin_eavs.config import Eavs, ProviderConfig

from oqto_platform.errors import BudgetExceeded, ConfigError
from oqto_platform.settings import Secret
from oqto_platform.types import Account, Session

SESSION = Session(id="ses_1", account_id="acc_1", workspace="/w")
ACCOUNT = Account(id="acc_1", name="alice")
MASTER = "master-key-canary"


class FakeEavs(http.server.ThreadingHTTPServer):
    """The admin API as EAVS has it: keys with float money, 204 for an end, ended keys out of the list."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.keys, self.asked, self.forgets, self.status = {}, [], False, 200
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def spend(self, usd):
        newest = list(self.keys.values())[-1]
        newest["usage"]["total_spend_usd"] += usd


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self._answer(self._got)

    def do_POST(self):
        self._answer(self._made)

    def do_DELETE(self):
        self._answer(self._ended)

    def _answer(self, route):
        size = int(self.headers.get("content-length", 0))
        self.body = json.loads(self.rfile.read(size) or b"null")
        self.server.asked.append((self.command, self.path))
        is_open = self.path == "/providers/detail"
        status, value = self.server.status, {"error": "broken", "code": "broken"}
        if self.headers.get("authorization") != f"Bearer {MASTER}" and not is_open:
            status, value = 401, {"error": "unauthorized", "code": "unauthorized"}
        elif status == 200:
            status, value = route()
        data = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _got(self):
        keys = self.server.keys
        path = self.path.partition("?")[0]
        if path == "/providers/detail":
            model = {
                "id": "m-1",
                "reasoning": True,
                "cost": {"input": 1.0, "output": 2.0, "cache_read": None},
            }
            hidden = {"name": "default", "pi_api": "openai-completions", "models": [model]}
            return 200, [
                {"name": "work", "type": "anthropic", "pi_api": "anthropic-messages", "models": [model]},
                {
                    "name": "codex",
                    "type": "openai-codex",
                    "pi_api": "openai-codex-responses",
                    "models": [model],
                },
                hidden,
            ]
        if path == "/admin/keys":
            return 200, [key for key in keys.values() if not key["disabled"]]
        if path == "/admin/keys/stats":
            return 200, {"total_keys": len(keys), "keys_enabled": True}
        if path == "/admin/usage/by-owner":
            spent = sum(key["usage"]["total_spend_usd"] for key in keys.values())
            return 200, [{"owner": "acc_1", "requests": 3, "cost_usd": spent}, {"owner": None, "requests": 9}]
        found = keys.get(path.rpartition("/")[2])
        gone = found is None or (found["disabled"] and self.server.forgets)
        return (404, {"error": "no", "code": "not_found"}) if gone else (200, found)

    def _made(self):
        key_id = f"calm-otter-{len(self.server.keys)}"
        usage = {"total_requests": 0, "total_spend_usd": 0.0}
        made = {**self.body, "key_id": key_id, "disabled": False, "usage": usage}
        self.server.keys[key_id] = made
        return 201, {**made, "key": f"eavs-{key_id}", "key_hash": "h"}

    def _ended(self):
        found = self.server.keys.get(self.path.rpartition("/")[2])
        if found is None or found["disabled"]:
            return 404, {"error": "no", "code": "not_found"}
        found["disabled"] = True
        return 204, None

    def log_message(self, *_):
        pass


@pytest.fixture
def eavs():
    with FakeEavs() as running:
        yield running
        running.shutdown()


@pytest.fixture
def house(eavs, tmp_path):
    section = Eavs(base_url=eavs.url, master_key=Secret(MASTER))
    made = SimpleNamespace(
        section=section, data_dir=tmp_path / "data", state_dir=tmp_path / "state", supervised=[]
    )
    made.settings = lambda: made.section
    made.leads = lambda: True

    async def supervise(child):
        made.supervised.append(child)

    made.supervise = supervise
    yield made
    core._core.context = None


async def test_a_session_gets_a_key_there_and_nothing_is_started_here(house, eavs):
    await core.prepare(house)
    reservation = await core.budget_reserve(SESSION, ACCOUNT)
    assert house.supervised == []
    assert reservation.env == {"EAVS_API_KEY": "eavs-calm-otter-0", "EAVS_URL": eavs.url}
    (made,) = eavs.keys.values()
    assert (made["name"], made["owner"]) == ("session-ses_1", "acc_1")
    assert made["permissions"] == {"max_budget_usd": 10.0, "rpm_limit": 60}
    assert made["metadata"] == {"session_id": "ses_1", "created_by": "oqto", "workspace": "/w"}
    assert MASTER not in repr(reservation)
    (source,) = reservation.sources
    assert (source.name, source.base_url, source.models[0].cost_output) == ("work", f"{eavs.url}/work", 2.0)
    assert await core.list_models(ACCOUNT) == reservation.sources
    assert all(check.ok for check in await core.health())


@pytest.mark.parametrize("forgets", [False, True])
async def test_stop_and_resume_spend_from_one_purse(house, eavs, forgets):
    eavs.forgets = forgets
    await core.prepare(house)
    first = await core.budget_reserve(SESSION, ACCOUNT)
    eavs.spend(4.0)
    assert (await core.budget_settle(SESSION, first.id)).spent_nusd == 4 * 10**9
    assert (await core.budget_settle(SESSION, first.id)).spent_nusd == 4 * 10**9
    second = await core.budget_reserve(SESSION, ACCOUNT)
    assert second.id == first.id
    assert list(eavs.keys.values())[-1]["permissions"]["max_budget_usd"] == 6.0
    eavs.spend(6.5)
    with pytest.raises(BudgetExceeded, match="used up"):
        await core.budget_reserve(SESSION, ACCOUNT)
    assert (await core.budget_settle(SESSION, first.id)).spent_nusd == 10_500_000_000
    assert [key["disabled"] for key in eavs.keys.values()] == [True, True]
    usage = await core.budget_usage(ACCOUNT)
    assert (usage.spent_nusd, usage.calls) == (10_500_000_000, 3)


async def test_a_key_whose_note_was_lost_in_a_crash_is_found_by_its_name(house, eavs):
    await core.prepare(house)
    await core.budget_reserve(SESSION, ACCOUNT)
    eavs.spend(1.0)
    (house.data_dir / "elsewhere" / "ses_1.json").unlink()
    await core.budget_reserve(SESSION, ACCOUNT)
    assert [key["disabled"] for key in eavs.keys.values()] == [True, False]
    assert list(eavs.keys.values())[-1]["permissions"]["max_budget_usd"] == 9.0


@pytest.mark.parametrize(
    ("status", "words"), [(401, "does not know the master key"), (403, "no master key"), (500, "status 500")]
)
async def test_a_refusal_there_refuses_the_session_in_words(house, eavs, status, words):
    await core.prepare(house)
    eavs.status = status
    with pytest.raises(elsewhere.EavsRefused, match=words) as caught:
        await core.budget_reserve(SESSION, ACCOUNT)
    assert MASTER not in str(caught.value)


async def test_nobody_there_refuses_the_session_in_words(house):
    house.section = Eavs(base_url="http://127.0.0.1:9", master_key=Secret(MASTER))
    await core.prepare(house)
    with pytest.raises(elsewhere.EavsRefused, match=r"does not answer.*base_url"):
        await core.budget_reserve(SESSION, ACCOUNT)


async def test_the_master_key_may_come_from_the_environment(house, eavs, monkeypatch):
    monkeypatch.setenv("EAVS_MASTER_KEY", MASTER)
    away = Eavs(base_url="https://eavs.example.com")
    elsewhere.check(away)
    monkeypatch.delenv("EAVS_MASTER_KEY")
    with pytest.raises(ConfigError, match="master_key"):
        elsewhere.check(away)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("providers", {"x": ProviderConfig(kind="openai")}),
        ("account_budget_usd", 5.0),
        ("workers", 2),
        ("default_session_concurrent_calls", 1),
        ("allow_account_keys", True),
    ],
)
def test_what_only_a_proxy_of_our_own_can_do_is_refused_by_name(field, value):
    section = Eavs(base_url="https://eavs.example.com", master_key=Secret("k"), **{field: value})
    with pytest.raises(ConfigError, match=rf"\[eavs\] {field}"):
        elsewhere.check(section)


@pytest.mark.parametrize(
    "url", ["ftp://eavs.example.com", "https://user:pw@eavs.example.com", "eavs.example.com"]
)
def test_an_address_that_cannot_be_is_refused(url):
    with pytest.raises(ConfigError, match="base_url"):
        elsewhere.check(Eavs(base_url=url, master_key=Secret("k")))


def test_the_doctor_knows_it():
    section = Eavs(base_url="https://eavs.example.com", master_key=Secret("k"))
    (check,) = checkup.all_checks(SimpleNamespace(section=lambda *_: section))
    assert (check.ok, check.detail) == (True, "https://eavs.example.com")


async def test_the_api_says_where_to_look(house, eavs):
    from oqto_plugin_eavs import control
    from oqto_plugin_eavs.routes import asker

    from oqto_platform.errors import Conflict

    with pytest.raises(Conflict, match=eavs.url):
        await asker(house)(control.ListKeys())
