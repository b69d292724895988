"""`oqtoctl eavs`: what is no name, amount or limit is refused where it was typed, before a server is asked."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner
from oqto_plugin_eavs import commands


@pytest.fixture
def typed(monkeypatch):
    """What the server is asked, and the answer of the command."""
    asked = []
    monkeypatch.setattr(commands, "call", lambda _, *request: asked.append(request) or [])
    group = click.Group("eavs")
    commands.add_to(group)

    def run(words):
        return CliRunner().invoke(group, words.split(" ")), asked

    return run


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("limit platform nan", "nan is no amount"),
        ("limit platform -- -5", "USD"),
        ("limit platform -- -inf", "USD"),
        ("limit platform much", "much"),
        ("limit platform 5 --window year", "year"),
        ("limit platform 5 --rpm -3", "--rpm"),
        ("keys create platform --usd inf", "inf is no amount"),
        ("keys create platform --usd -1", "--usd"),
        ("keys create platform --days nan", "nan is no amount"),
        ("keys create platform --tpm 1.5", "--tpm"),
        ("keys rotate calm-otter --grace-hours -1", "--grace-hours"),
        ("keys rotate a/b", "'a/b' is no name"),
        ("keys revoke ", "'' is no name"),
        ("keys revoke ..", "'..' is no name"),
        ("providers remove a/b", "'a/b' is no name"),
        ("group a/b ada", "'a/b' is no name"),
        ("usage --days -1", "--days"),
        ("usage --by colour", "colour"),
    ],
)
def test_what_cannot_be_is_refused_by_name(typed, words, named):
    answer, asked = typed(words)
    assert (answer.exit_code, named in answer.output, asked) == (2, True, []), answer.output


def test_what_is_typed_stays_one_part_of_the_address(typed):
    assert typed("usage --account a&since=9")[0].exit_code == 0
    assert typed("keys revoke calm?otter")[0].exit_code == 0
    assert typed("usage --days 1e30")[0].exit_code == 0
    _, asked = typed("limit platform inf")
    assert [path for _, path, *_ in asked] == [
        "/api/plugins/eavs/usage?by=day&account=a%26since%3D9&since=0.0",
        "/api/plugins/eavs/keys/calm%3Fotter",
        "/api/plugins/eavs/usage?by=day&account=&since=0",
        "/api/plugins/eavs/limits/platform",
    ]
    assert asked[-1][2]["limit_usd"] is None
