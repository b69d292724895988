"""It greets on both sides."""

from __future__ import annotations

import pytest

from oqto_platform.testing import PluginContract


class TestContract(PluginContract):
    plugin = "hello"


@pytest.fixture(scope="module")
def oqto_plugins():
    return ("hello",)


def test_the_agent_and_the_server_are_greeted(oqto, session):
    assert session.prompt("env HELLO").text == f"from {session.id}"
    assert f"hello, {session.id}" in oqto.log.read_text()
