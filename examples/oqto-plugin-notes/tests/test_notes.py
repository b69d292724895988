"""Notes belong to whoever wrote them."""

from __future__ import annotations

import pytest
from oqto_plugin_notes import tables
from sqlmodel import Session as Transaction
from sqlmodel import create_engine

from oqto_platform.testing import PluginContract


class TestContract(PluginContract):
    plugin = "notes"


@pytest.fixture(scope="module")
def oqto_plugins():
    return ("notes",)


def test_a_note_is_kept_and_counted(client):
    url = "/api/plugins/notes/of/ses_1"
    assert client.get(url).json() == {"text": ""}
    assert client.put(url, json={"text": "look at the lamp"}).status_code == 200
    assert client.get(url).json() == {"text": "look at the lamp"}
    assert client.get("/api/plugins/notes/count").json() == {"count": 1}
    assert client.put(url, json={"text": "x" * 20_001}).status_code == 422


def test_the_panels_are_offered_in_frames(client):
    panels = {panel["element"]: panel for panel in client.get("/api/plugins/panels").json()}
    assert set(panels) == {"oqto-notes", "oqto-notes-count"}
    assert client.get(panels["oqto-notes"]["frame"]).status_code == 200


def test_nobody_reads_the_notes_of_another():
    engine = create_engine("sqlite://")
    tables.NoteRow.metadata.create_all(engine)
    with Transaction(engine) as transaction:
        tables.write(transaction, "acc_1", "ses_1", "mine")
        assert tables.read(transaction, "acc_2", "ses_1") == ""
        assert (tables.count(transaction, "acc_1"), tables.count(transaction, "acc_2")) == (1, 0)
    engine.dispose()
