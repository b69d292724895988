"""The core's half: the process is started and found again, sessions get wallets, settings reach the proxy."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from pathlib import Path

import httpx
import msgspec
import pytest
from oqto_plugin_eavs import control, core
from oqto_plugin_eavs.config import Eavs, ModelPrice, ProviderConfig
from oqto_plugin_eavs.providers import Provider

from oqto_platform import config
from oqto_platform.children import Children
from oqto_platform.errors import ConfigError, Invalid
from oqto_platform.peers import listener_pid
from oqto_platform.settings import Secret
from oqto_platform.testing.stack import free_port
from oqto_platform.types import Account, Session

SESSION = Session(id="ses_1", account_id="acc_1", workspace="/w")
ACCOUNT = Account(id="acc_1", name="alice")


class House:
    """What the core gives a plugin."""

    name = "eavs"

    def __init__(self, folder, section):
        self.section, self.children = section, Children(lambda: True)
        self.data_dir, self.state_dir = folder / "data", folder / "state"
        self.audited = []

    def settings(self):
        return self.section

    def leads(self):
        return True

    def audit(self, event, **fields):
        self.audited.append((event, fields))

    async def supervise(self, child):
        await self.children.supervise(child)


@pytest.fixture
async def house():
    folder = Path(tempfile.mkdtemp(prefix="eavs-"))
    made = House(folder, Eavs(base_url=f"http://localhost:{free_port()}"))
    yield made
    await made.children.stop_all()
    # The loop has to hear of the end of its children before it closes, or it warns about them.
    while any("waitpid" in thread.name for thread in threading.enumerate()):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0)
    core._core.context = None
    shutil.rmtree(folder)


async def test_a_session_gets_a_wallet_a_key_and_the_demo(house):
    await core.prepare(house)
    reservation = await core.budget_reserve(SESSION, ACCOUNT)
    assert reservation.limit_usd == 10.0
    assert [(source.name, source.is_demo) for source in reservation.sources] == [("demo", True)]
    relay = reservation.relays[0]
    transport = httpx.AsyncHTTPTransport(uds=relay.socket)
    body = {"model": "demo", "messages": [{"role": "user", "content": "hi"}]}
    async with httpx.AsyncClient(transport=transport) as client:
        headers = {"authorization": f"Bearer {reservation.env['EAVS_API_KEY']}"}
        reply = await client.post("http://proxy/p/demo/v1/chat/completions", headers=headers, json=body)
    assert "demo model" in reply.json()["choices"][0]["message"]["content"]
    assert str(relay.port) in reservation.sources[0].base_url
    again = await core.budget_reserve(SESSION, ACCOUNT)
    assert again.id == reservation.id
    assert (await core.budget_settle(SESSION, reservation.id)).spent_nusd == 0
    assert (await core.budget_usage(ACCOUNT)).calls == 1


async def test_a_session_has_the_calls_a_minute_of_the_configuration(house):
    house.section = msgspec.structs.replace(house.section, default_session_rpm=1)
    await core.prepare(house)
    reservation = await core.budget_reserve(SESSION, ACCOUNT)
    transport = httpx.AsyncHTTPTransport(uds=reservation.relays[0].socket)
    headers = {"authorization": f"Bearer {reservation.env['EAVS_API_KEY']}"}
    body = {"model": "demo", "messages": [{"role": "user", "content": "hi"}]}
    async with httpx.AsyncClient(transport=transport, headers=headers) as client:
        first, second = [
            await client.post("http://proxy/p/demo/v1/chat/completions", json=body) for _ in "12"
        ]
    assert (first.status_code, second.status_code) == (200, 429)


async def test_keys_that_stand_in_the_servers_environment_follow_it(house, monkeypatch):
    await core.prepare(house)
    lab = Provider(
        name="lab", kind="openai-compatible", base_url="http://127.0.0.1:9/v1", api_key="env:LAB_KEY"
    )
    socket_path = str(house.state_dir / "control.sock")
    await control.ask(
        socket_path, control.SetProvider(provider=lab, probe=False, environment={"LAB_KEY": "one"})
    )
    told = []
    monkeypatch.setattr(core.control, "ask", recorded(told, core.control.ask))
    monkeypatch.setenv("LAB_KEY", "two")
    await core.prepare(house)
    assert [ask.environment for ask in told if isinstance(ask, control.SetEnvironment)] == [
        {"LAB_KEY": "two"}
    ]


def recorded(told, ask):
    async def record(path, request, **options):
        told.append(request)
        return await ask(path, request, **options)

    return record


async def test_the_process_outlives_its_starter_and_is_adopted(house):
    await core.prepare(house)
    first = listener_pid(str(house.state_dir / "control.sock"))
    house.children = Children(lambda: True)
    await core.prepare(house)
    assert listener_pid(str(house.state_dir / "control.sock")) == first
    await house.children.stop_all()
    assert listener_pid(str(house.state_dir / "control.sock")) is None


async def test_a_new_address_replaces_the_running_process(house):
    await core.prepare(house)
    first = listener_pid(str(house.state_dir / "control.sock"))
    house.section = Eavs(base_url=f"http://127.0.0.1:{free_port()}")
    await core.prepare(house)
    assert listener_pid(str(house.state_dir / "control.sock")) != first
    checks = await core.health()
    assert house.section.base_url in checks[0].detail


async def test_no_secret_in_arguments_or_environment_of_the_process(house):
    entry = ProviderConfig(kind="openai", api_key=Secret("sk-canary"), models=("gpt-4o",))
    house.section = Eavs(base_url=house.section.base_url, providers={"work": entry})
    await core.prepare(house)
    pid = listener_pid(str(house.state_dir / "control.sock"))
    for name in ("cmdline", "environ"):
        assert b"canary" not in Path(f"/proc/{pid}/{name}").read_bytes()
    reservation = await core.budget_reserve(SESSION, ACCOUNT)
    assert "canary" not in repr(reservation)
    source = reservation.sources[0]
    assert (source.name, source.api, source.models[0].id) == ("work", "openai-responses", "gpt-4o")
    assert source.models[0].cost_input == 2.5


async def test_switched_off_gives_no_reservation_and_still_settles(house):
    await core.prepare(house)
    await core.budget_reserve(SESSION, ACCOUNT)
    await house.children.stop_all()
    house.section = Eavs(enabled=False)
    await core.prepare(house)
    assert await core.budget_reserve(SESSION, ACCOUNT) is None
    assert (await core.budget_settle(SESSION, "res_x")).spent_nusd == 0
    assert await core.health() == []


@pytest.mark.parametrize(
    "url", ["https://eavs.example.com", "http://10.0.0.1:41800", "ftp://localhost", "http://localhost:1/x"]
)
def test_a_proxy_elsewhere_is_an_error_that_names_the_key(url):
    with pytest.raises(ConfigError, match=r"\[eavs\] base_url"):
        core.address_of(Eavs(base_url=url))


def test_a_provider_of_the_configuration(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-1")
    price = ModelPrice(input=1, output=2)
    entry = ProviderConfig(
        kind="openai-compatible", base_url="http://h/v1", api_key=Secret("env:MY_KEY"), prices={"m": price}
    )
    provider = core.provider_of("x", entry)
    assert (provider.api_key, provider.prices["m"].output, provider.source) == ("sk-1", 2, "config")
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(Invalid, match="MY_KEY"):
        core.provider_of("x", entry)


async def test_the_sections_keys_are_read_from_toml(tmp_path):
    text = """
    [eavs]
    default_session_budget_usd = inf
    [eavs.providers.mine]
    kind = "openai-compatible"
    base_url = "http://127.0.0.1:9/v1"
    models = ["a", "b"]
    prices.a = { input = 1.5, output = 2 }
    """
    path = tmp_path / "config.toml"
    path.write_text(text)
    loaded = config.load(path, {}, kinds={"eavs": Eavs}).section("eavs", Eavs)
    assert loaded.providers["mine"].models == ("a", "b")
    assert loaded.default_session_budget_usd == float("inf")


async def test_requests_that_nobody_understands_are_answered(house):
    await core.prepare(house)
    reader, writer = await asyncio.open_unix_connection(str(house.state_dir / "control.sock"))
    writer.write(b'{"cmd": "make.coffee"}\n')
    reply = control.decode_reply(await reader.readline())
    writer.close()
    assert isinstance(reply, control.Failed)
    assert reply.problem.code == "invalid"


@pytest.mark.parametrize(
    ("patience", "directive", "status", "said"),
    [
        ({"first_byte_timeout_s": 1.0}, "[[hang 30]]", 504, "did not begin to answer in time"),
        ({"idle_timeout_s": 1.0}, "[[slow 3 30]]", 200, "said nothing for 1 s"),
        ({"total_timeout_s": 1.0}, "[[slow 100 0.2]]", 200, "did not finish in time"),
    ],
)
async def test_time_outs_of_a_provider_follow_the_configuration(
    house, provider, patience, directive, status, said
):
    await core.prepare(house)
    reservation = await core.budget_reserve(SESSION, ACCOUNT)
    price = ModelPrice(input=3, output=15)
    entry = ProviderConfig(
        kind="openai-compatible", base_url=f"{provider.url}/v1", models=("fake-1",), prices={"fake-1": price},
        **patience,
    )  # fmt: skip
    await core.configure(house, msgspec.structs.replace(house.section, providers={"slow": entry}))
    body = {"model": "fake-1", "stream": True, "messages": [{"role": "user", "content": directive}]}
    async with httpx.AsyncClient(timeout=20) as client:
        headers = {"authorization": f"Bearer {reservation.env['EAVS_API_KEY']}"}
        url = f"{house.section.base_url}/p/slow/v1/chat/completions"
        reply = await client.post(url, headers=headers, json=body)
    assert (reply.status_code, said in reply.text) == (status, True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"account_budget_usd": 1e300}, r"account_budget_usd: 1e\+300 is no budget"),
        ({"default_session_budget_usd": 2e9}, "default_session_budget_usd: .* use 0 to 1000000000, or inf"),
        ({"providers": {"lab": {"kind": "ollama", "prices": {"m": {"input": 1, "output": 1, "cache_read": -1}}}}},
         r"providers.lab.prices.m.cache_read: -1 is no price"),
    ],
)  # fmt: skip
def test_amounts_that_fit_no_ledger_are_refused_by_name(settings, words):
    with pytest.raises(ValueError, match=words):
        msgspec.convert(settings, Eavs).check()
    msgspec.convert({"platform_budget_usd": float("inf")}, Eavs).check()
