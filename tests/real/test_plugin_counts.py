"""What plugins did, on both workers and on the runner, and calling one again everywhere: by one question to any of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest
from commands import printed
from prometheus_client.parser import text_string_to_metric_families
from waiting import until

from oqto_platform.peers import listener_pid
from oqto_platform.testing.kit import ACCOUNT, Oqto
from oqto_platform.testing.site import Site

pytestmark = pytest.mark.real
TOKEN = "a-token-for-the-monitoring"
MOODY = """
from oqto_platform import hookimpl

@hookimpl
def {hook}():
    raise RuntimeError("in a mood")
"""


class TwoWorkers(Oqto):
    """Its runner finds plugins in the folder of the test, too, as if they were in its own environment."""

    def _runner_command(self, folder: Path) -> list[str]:
        return [word for word in super()._runner_command(folder) if word != "-I"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    root = tmp_path_factory.mktemp("counted")
    site = Site(root)
    site.install(
        "moody", core=MOODY.format(hook="config_changed"), runner=MOODY.format(hook="session_started")
    )
    settings = {"server.metrics_token": TOKEN}
    stack = TwoWorkers(root, ("moody",), settings)
    stack.command = (*stack.command, "--workers", "2")
    stack.env |= {"PYTHONPATH": str(site.folder)}
    configure(stack, 30)
    with stack:
        stack.set_up()
        yield stack


def configure(stack, minutes: int) -> None:
    Path(stack.env["OQTO_CONFIG"]).write_text(f"{ACCOUNT}\n[sessions]\nidle_timeout_minutes = {minutes}\n")


def tallies(stack) -> dict:
    found = stack.client.get("/api/admin/hooks").json()
    return {(one["side"], one["hook"]): one for one in found if one["plugin"] == "moody"}


def metric(stack, name: str) -> dict:
    """On a connection of its own: the kernel chooses a worker."""
    answer = httpx.get(f"{stack.url}/metrics", headers={"authorization": f"Bearer {TOKEN}"}, timeout=30, trust_env=False)  # fmt: skip
    return {
        (sample.labels["side"], sample.labels["hook"]): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == name and sample.labels["plugin"] == "moody"
    }


CORE, RUNNER = ("core", "config_changed"), ("runner", "session_started")


@pytest.fixture(scope="module")
def tripped(stack):
    """Five failures in each worker, and five on the runner."""
    for number in range(5):
        configure(stack, 31 + number)
        until(lambda failures=2 * (number + 1): tallies(stack)[CORE]["failures"] == failures)
        with stack.session():
            pass
    return stack


def test_both_sides_and_all_workers_are_counted(tripped):
    for _ in range(5):
        found = tallies(tripped)
        assert (found[CORE]["calls"], found[CORE]["failures"], found[CORE]["is_off"]) == (10, 10, True)
        assert (found[RUNNER]["calls"], found[RUNNER]["failures"], found[RUNNER]["is_off"]) == (5, 5, True)
        assert metric(tripped, "oqto_hook_failures_total") == {CORE: 10, RUNNER: 5}
        assert metric(tripped, "oqto_hook_off") == {CORE: 2, RUNNER: 1}
    assert metric(tripped, "oqto_hook_seconds_total")[RUNNER] > 0
    assert found[RUNNER]["last_failure"] == "RuntimeError: in a mood"


def test_the_command_line_tells_both_sides(tripped):
    shown = printed(tripped, "plugins", "show", "moody")
    assert "core    config_changed       10 calls, 10 failed" in shown
    assert "runner  session_started      5 calls, 5 failed" in shown
    states = {line.split()[1]: line for line in printed(tripped, "plugins", "list").splitlines() if line.startswith("moody")}  # fmt: skip
    assert "failing, switched off: config_changed" in states["core"]
    assert "failing, switched off: session_started" in states["runner"]


def test_a_plugin_that_is_only_told_takes_nobody_out_of_service(tripped):
    assert httpx.get(f"{tripped.url}/health/ready", timeout=30, trust_env=False).status_code == 200


def test_it_is_called_again_in_every_worker_and_on_the_runner(tripped):
    said = printed(tripped, "plugins", "reset", "moody")
    assert said == "moody is called again: config_changed (core), session_started (runner)\n"
    for _ in range(5):
        assert metric(tripped, "oqto_hook_off") == {CORE: 0, RUNNER: 0}
    configure(tripped, 40)
    until(lambda: tallies(tripped)[CORE]["calls"] == 12)
    with tripped.session():
        assert tallies(tripped)[RUNNER]["calls"] == 6
    assert printed(tripped, "plugins", "reset", "moody") == "moody was not switched off\n"


def test_a_name_that_neither_side_knows_is_refused(stack):
    answer = stack.client.post("/api/admin/plugins/mody/reset")
    assert answer.status_code == 404
    assert "on the core, no plugin 'mody' is loaded" in answer.json()["detail"]
    assert "on the runner, no plugin 'mody' is loaded" in answer.json()["detail"]


def test_a_runner_that_is_away_is_named(stack):
    def said() -> dict:
        if pid := listener_pid(str(stack.state_dir / "runner" / "oqto-runner.sock")):
            os.kill(pid, signal.SIGKILL)
        return stack.client.post("/api/admin/plugins/builtin/reset").json()

    until(lambda: "the runner does not answer" in said()["unreached"])  # the server starts it again at once
