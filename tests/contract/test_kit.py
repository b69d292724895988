"""The fixtures of the test kit, used as a plugin's author would."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def oqto_plugins():
    return ("sandbox",)


@pytest.fixture(scope="module")
def oqto_settings():
    return {"sessions.auto_attach": "resume"}


def test_the_client_is_signed_in_as_admin(oqto, client):
    assert client.get("/api/admin/hooks").status_code == 200


def test_the_module_chooses_plugins_and_settings(client):
    features = client.get("/api/features").json()
    assert features["auto_attach"] == "resume"
    assert features["plugins"] == ["builtin"]  # of the core; the sandbox has no core side


def test_a_session_answers(session):
    turn = session.prompt("hello there")
    assert turn.text == "hello there "
    assert turn.kinds[-1] == "agent.idle"
    assert session.prompt("again").text == "again "


def test_a_stopped_session_is_settled(oqto):
    with oqto.session() as session:
        assert session.state() == "running"
    assert session.wait_for("settled") == "settled"


@pytest.mark.parametrize("kind", ["crashing", "killed"])
def test_an_agent_that_dies_ends_its_session(misbehaving, kind):
    session = misbehaving.session(kind)
    assert session.prompt("hello").kinds[-1] in ("agent.idle", "session.closed")


def test_an_agent_that_does_not_start_says_why(misbehaving):
    assert "I do not start, as asked" in misbehaving.refused().detail


def calls_of_hooks(client) -> int:
    return sum(tally["calls"] for tally in client.get("/api/admin/hooks").json())


def test_an_event_on_its_way_to_the_browser_passes_no_hook(session, client):
    """However much an agent says, the hooks are called as often: for the command, never for what comes of it."""

    def calls_for(pieces: int) -> int:
        before = calls_of_hooks(client)
        turn = session.prompt(f"flood {pieces}")
        assert turn.kinds.count("stream.text_delta") == pieces
        return calls_of_hooks(client) - before

    assert calls_for(5) == calls_for(1500)


def test_who_does_not_use_the_kit_pays_nothing_for_it():
    program = "import sys, pytest; before = set(sys.modules); import oqto_platform.testing.fixtures; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    ours = {"oqto_platform", "oqto_platform.testing", "oqto_platform.testing.fixtures"}
    assert {name for name in done.stdout.split() if "." not in name or name.startswith("oqto")} <= ours


def test_the_installed_platform_brings_the_fixtures():
    (entry,) = entry_points(group="pytest11", name="oqto")
    assert entry.value == "oqto_platform.testing.fixtures"
