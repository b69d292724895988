"""Several processes relay, one keeps the money: no budget overshoots, and whoever dies is billed for."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
from pathlib import Path

import httpx
import pytest
from oqto_plugin_eavs import control
from oqto_plugin_eavs.rates import Rates
from oqto_plugin_eavs.worker import work
from waiting import until

from .conftest import add_all, end, new_proxy

WORKERS = 3


@pytest.fixture(scope="module")
def shared_crew(shared_provider):
    running = new_proxy("--workers", str(WORKERS))
    try:
        add_all(running, shared_provider.url)
        yield running
    finally:
        end(running)


@pytest.fixture
def crew(shared_crew, provider):
    shared_crew.scope += 1
    return shared_crew


def children(proxy):
    pid = proxy.process.pid
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def each_its_own_connection(proxy, key, text, **fields):
    """A call on a connection of its own, so that any worker may get it."""
    body = {"model": "fake-1", "messages": [{"role": "user", "content": text}], **fields}
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=proxy.url, trust_env=False, timeout=30) as client:
        return client.post("/p/fake/v1/chat/completions", headers=headers, json=body)


def test_two_hundred_calls_at_several_processes_on_money_for_ten(crew, provider):
    call_costs = 8_192 * 15_000
    key = crew.key(limit_usd=10.5 * call_costs / 1e9)
    with concurrent.futures.ThreadPoolExecutor(48) as pool:
        texts = [f"[[usage 10 8192]] [[slow 2 0.1]] {n}" for n in range(200)]
        tasks = [pool.submit(each_its_own_connection, crew, key, text, stream=True) for text in texts]
        statuses = [task.result().status_code for task in tasks]
    assert statuses.count(200) == len(provider.requests) == 10
    assert statuses.count(402) == 190
    assert sum(row["cost_nusd"] for row in crew.settled(10)) == 10 * (10 * 3_000 + call_costs)
    assert crew.settle() == 10 * (10 * 3_000 + call_costs)


def test_a_limit_is_one_for_all_processes(crew):
    key = crew.key(rpm=5)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        tasks = [pool.submit(each_its_own_connection, crew, key, f"hi {n}") for n in range(24)]
        statuses = [task.result().status_code for task in tasks]
    assert (statuses.count(200), statuses.count(429)) == (5, 19)


def test_a_change_of_providers_is_in_force_everywhere_when_it_is_answered(crew, provider):
    key = crew.key()
    for name in ("fresh-1", "fresh-2"):
        crew.add(name, "openai-compatible", f"{provider.url}/v1")
        body = {"model": "fake-1", "messages": [{"role": "user", "content": "hi"}]}
        for _ in range(2 * WORKERS):
            with httpx.Client(base_url=crew.url, trust_env=False) as client:
                path, headers = f"/p/{name}/v1/chat/completions", {"x-api-key": key}
                assert client.post(path, json=body, headers=headers).status_code == 200


def test_a_revoked_key_is_refused_by_every_process(crew):
    key = crew.key()
    assert [each_its_own_connection(crew, key, "hi").status_code for _ in range(WORKERS)] == [200] * WORKERS
    crew.settle()
    assert [each_its_own_connection(crew, key, "hi").status_code for _ in range(2 * WORKERS)] == [
        401
    ] * 2 * WORKERS


def test_a_settled_sessions_calls_end_in_every_process(crew, provider):
    key = crew.key()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        tasks = [
            pool.submit(each_its_own_connection, crew, key, f"[[slow 500 0.1]] {n}", stream=True)
            for n in range(4)
        ]
        until(lambda: len(provider.requests) == 4)
        crew.settle()
        concurrent.futures.wait(tasks, timeout=20)
    assert [row["state"] for row in crew.rows()] == ["settled"] * 4
    assert all(row["cost_nusd"] > 0 for row in crew.rows())


def test_places_and_fallbacks_work_across_processes(crew, provider):
    crew.add("first", "openai-compatible", f"{provider.url}/v1", fallback=("fake",))
    key = crew.key()
    crew.ask(
        control.Limit(wallet=f"session:{crew.name('ses')}", limit_nusd=10**10, rates=Rates(concurrent=1))
    )
    text = f"[[error 503 1]] {crew.scope}"
    for _ in range(2):
        provider._errors.clear()
        reply = crew.chat(key, text, provider="first")
        assert (reply.status_code, reply.headers["x-eavs-provider"]) == (200, "fake")
    assert [row["outcome"] for row in crew.settled(4)] == ["refused", "done"] * 2


def test_a_worker_that_dies_is_billed_for_and_replaced(crew, provider):
    key = crew.key()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(each_its_own_connection, crew, key, "[[slow 500 0.1]]", stream=True)
        until(lambda: len(provider.requests) == 1)
        before = children(crew)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(httpx.HTTPError):
            call.result()
    (row,) = crew.settled()
    assert (row["outcome"], row["is_estimated"], row["cost_nusd"]) == ("crash", 1, row["hold_nusd"])
    until(lambda: len(set(children(crew)) - set(before)) == WORKERS)
    assert each_its_own_connection(crew, key, "hi").status_code == 200


def test_no_worker_outlives_the_owner_of_the_ledger(own_crew, provider):
    workers = children(own_crew)
    key = own_crew.key()
    assert own_crew.chat(key, "hi").status_code == 200
    own_crew.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() and "Z" not in state(pid) for pid in workers))
    own_crew.start()
    assert own_crew.chat(key, "hi").status_code == 200
    assert own_crew.rows("state = 'pending'") == []


async def test_a_worker_ends_with_an_owner_that_goes_before_its_first_word(tmp_path):
    async def go(_reader, writer):
        writer.close()

    till = tmp_path / "till.sock"
    async with await asyncio.start_unix_server(go, till), asyncio.timeout(10):
        await work(till, (), "")


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


@pytest.fixture
def own_crew(provider):
    running = new_proxy("--workers", "2")
    try:
        add_all(running, provider.url)
        yield running
    finally:
        end(running)


def test_an_orderly_end_bills_the_calls_of_every_process(own_crew, provider):
    key = own_crew.key()
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for n in range(3):
            pool.submit(each_its_own_connection, own_crew, key, f"[[slow 500 0.1]] {n}", stream=True)
        until(lambda: len(provider.requests) == 3)
        own_crew.process.terminate()
        assert own_crew.process.wait(5) == 0
    assert [(row["state"], row["outcome"]) for row in own_crew.rows()] == [("settled", "shutdown")] * 3
    assert not list(own_crew.folder.glob("*.sock"))


def test_nobody_elses_process_may_ask_the_till(own_crew):
    assert (own_crew.folder / "till.sock").stat().st_mode & 0o077 == 0


def test_a_long_request_is_paid_for_piece_by_piece_across_processes(crew, provider):
    words = "some words " * 300_000
    refused = each_its_own_connection(crew, crew.key(limit_usd=3.0), words)
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "budget_exceeded")
    assert [row["cost_nusd"] for row in crew.settled()] == [0]
    asked = each_its_own_connection(crew, crew.key("other", limit_usd=10.0), words + "[[usage 100 50]]")
    assert asked.status_code == 200
    assert crew.settled(2)[1]["cost_nusd"] == 100 * 3_000 + 50 * 15_000
