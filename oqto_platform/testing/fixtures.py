"""
The pytest plugin of the test kit, loaded by every pytest of an environment in which Oqto is installed.

So nothing of ours is imported before a test asks for a fixture: who does not use them pays nothing, and coverage
sees a plugin's modules from their first line.

    def test_it_refuses_at_night(oqto, client):
        response = client.post("/api/sessions", json={"workspace": str(oqto.workspace), "harness": "echo"})
        assert response.json()["detail"] == "Good night, ada."

    def test_an_agent_answers(session):
        assert session.prompt("hello").text == "hello "
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx

    from oqto_platform.testing.kit import Oqto
    from oqto_platform.testing.under_test import Misbehaving, SessionUnderTest


@pytest.fixture(scope="module")
def oqto_plugins() -> tuple[str, ...] | None:
    """The plugins of `oqto`, by name. `None`: all that are installed. Override it in your module."""
    return None


@pytest.fixture(scope="module")
def oqto_settings() -> dict[str, Any]:
    """Configuration keys of `oqto`, such as `{"curfew.begins": 22}`. Override it in your module."""
    return {}


@pytest.fixture(scope="module")
def oqto(
    tmp_path_factory: pytest.TempPathFactory,
    oqto_plugins: tuple[str, ...] | None,
    oqto_settings: dict[str, Any],
) -> Iterator[Oqto]:
    """A real server of this module on temporary paths: core, runner, plugins; the model is scripted."""
    from oqto_platform.testing.kit import running

    with running(tmp_path_factory.mktemp("oqto"), oqto_plugins, oqto_settings) as server:
        yield server


@pytest.fixture
def client(oqto: Oqto) -> Iterator[httpx.Client]:
    """An HTTP client of `oqto`, signed in as its admin."""
    with oqto.new_client() as signed_in:
        yield signed_in


@pytest.fixture
def session(oqto: Oqto) -> Iterator[SessionUnderTest]:
    """A running session with the harness `echo`, stopped at the end."""
    with oqto.session() as started:
        yield started


@pytest.fixture
def misbehaving(oqto: Oqto) -> Iterator[Misbehaving]:
    """Starts sessions whose agents misbehave: `misbehaving.session("crashing")`."""
    from oqto_platform.testing.under_test import Misbehaving

    with Misbehaving(oqto) as starter:
        yield starter
