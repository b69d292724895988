"""Accounts as containers have them: a number without a name."""

from __future__ import annotations

import os
import pwd

import pytest
from oqto_plugin_sandbox import launch, runner
from oqto_plugin_sandbox.policy.model import Policy

from oqto_platform.errors import Unconfined


@pytest.fixture
def nameless(monkeypatch):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(os, "getuid", lambda: 4711)


def test_a_number_without_an_account_gets_an_environment(nameless):
    found = launch.environment(Policy(), {"KEEP": "1"}, "/home/x")
    assert (found["USER"], found["HOME"], found["KEEP"]) == ("oqto", "/home/x", "1")


def test_a_runner_without_an_account_is_refused_with_the_repair(nameless):
    with pytest.raises(Unconfined, match=r"4711 is no account .*Repair: .*useradd"):
        runner.owner()
