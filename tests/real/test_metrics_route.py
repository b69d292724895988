"""`/metrics` of a real server with two workers: who may read it, and that it does not matter which worker answers."""

from __future__ import annotations

import sys

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from oqto_platform.testing.stack import Stack

pytestmark = pytest.mark.real
TOKEN = "a-token-for-the-monitoring"


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    root = tmp_path_factory.mktemp("metered")
    command = (sys.executable, "-m", "oqto_platform.cli.serve", "serve", "--single-user", "--port", "0", "--workers", "2")  # fmt: skip
    stack = Stack(root, plugins=("sandbox",), command=command, **{"server.metrics_token": TOKEN})
    stack.command = (*command[:-3], str(stack.port), *command[-2:])
    with stack:
        while "#/setup/" not in stack.log.read_text():  # the leader may not be the first that answers
            assert stack.process.poll() is None
        stack.set_up()
        yield stack


def scraped(stack, token: str = TOKEN) -> dict:
    """On a connection of its own: the kernel chooses a worker."""
    answer = httpx.get(f"{stack.url}/metrics", headers={"authorization": f"Bearer {token}"}, timeout=30, trust_env=False)  # fmt: skip
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_nobody_reads_it_by_being_on_this_machine(stack):
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Bearer {TOKEN}x"}):
        answer = httpx.get(f"{stack.url}/metrics", headers=headers, timeout=30, trust_env=False)
        assert answer.status_code == 401
        assert "oqto_" not in answer.text
    assert stack.client.get("/metrics").status_code == 200, "an admin may"


def test_requests_of_all_workers_are_counted_whichever_answers(stack):
    route = ("oqto_http_requests_total", "GET", "/api/me", "200")
    before = scraped(stack).get(route, 0)
    for _ in range(20):
        httpx.get(f"{stack.url}/api/me", headers={"cookie": stack.cookie()}, timeout=30, trust_env=False)
    seen = []
    for _ in range(200):
        seen.append(scraped(stack).get(route, 0))
        if seen[-1] == before + 20:
            break
    assert seen[-1] == before + 20
    assert seen == sorted(seen), "a counter never falls"


def test_what_an_operator_wants_to_know_is_there(stack):
    stack.sign_in()
    stack.client.get("/api/sessions/ses_nothing")
    wanted = {
        "oqto_build_info",
        "oqto_hook_calls_total",
        "oqto_hook_seconds_total",
        "oqto_audit_records_total",
    }
    signed_in = ("oqto_hook_calls_total", "authenticate", "builtin", "core")
    for _ in range(200):  # the worker that did it tells the others about once a second
        found = scraped(stack)
        if signed_in in found and wanted <= {name for name, *_ in found}:
            break
    assert wanted <= {name for name, *_ in found}
    assert found["oqto_workers",] == 2
    assert found["oqto_runner_up",] == 1
    assert found[signed_in] == 1
    assert not [labels for _, *labels in found if "ses_nothing" in labels], "no number for each path"
