"""A changed configuration in a server with several workers: each holds it, and any of them can tell."""

from __future__ import annotations

import pytest
from live_config import renamed_over, status
from waiting import until

from oqto_platform.testing.stack import Stack

pytestmark = pytest.mark.real


@pytest.fixture
def stack(tmp_path, needs_bubblewrap):
    (config := tmp_path / "config.toml").write_text("")
    with Stack(tmp_path, plugins=("sandbox",), env={"OQTO_CONFIG": str(config)}) as stack:
        stack.config = config
        stack.set_up()
        stack.stop()
        stack.command = (*stack.command, "--workers", "2")
        stack.start()
        stack.sign_in()
        yield stack


def all_hold(stack, generation, error):
    def holds():
        now = status(stack)
        told = [(worker["generation"], error in worker["error"]) for worker in now["workers"]]
        return now["is_agreed"] and told == [(generation, True)] * 2 and bool(error) == bool(now["error"])

    until(holds, f"generation {generation} in both", seen=lambda: (status(stack), stack.log.read_text()))


def test_all_workers_hold_the_same(stack):
    all_hold(stack, 1, "")
    for minutes in range(1, 6):
        renamed_over(stack.config, f"[sessions]\nidle_timeout_minutes = {minutes}\n")
        all_hold(stack, minutes + 1, "")
    renamed_over(stack.config, "[sesions]\n")
    all_hold(stack, 6, "unknown section")
