"""The renderer is offered for the tools that change files."""

from __future__ import annotations

import pytest

from oqto_platform.testing import PluginContract


class TestContract(PluginContract):
    plugin = "diff"


@pytest.fixture(scope="module")
def oqto_plugins():
    return ("diff",)


def test_it_shows_the_tools_that_change_files(client):
    (panel,) = client.get("/api/plugins/panels").json()
    assert (panel["place"], panel["element"]) == ("tool", "oqto-diff")
    assert {"edit", "write"} <= set(panel["tools"])
    assert client.get(panel["module"]).status_code == 200
