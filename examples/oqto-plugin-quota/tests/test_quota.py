"""As many sessions as are allowed, and a sentence for the next."""

from __future__ import annotations

import pytest
from oqto_plugin_quota.tables import StartedRow, count
from sqlmodel import Session as Transaction
from sqlmodel import create_engine

from oqto_platform import Session
from oqto_platform.errors import Refusal
from oqto_platform.testing import PluginContract


class TestContract(PluginContract):
    plugin = "quota"


@pytest.fixture(scope="module")
def oqto_plugins():
    return ("quota",)


@pytest.fixture(scope="module")
def oqto_settings():
    return {"quota.sessions_per_day": 2}


def test_the_one_too_many_is_refused_with_a_sentence(oqto):
    said = "You have started 2 sessions today"
    with oqto.session(), oqto.session(), pytest.raises(Refusal, match=said) as refused:
        oqto.begin(harness="echo")
    assert refused.value.code == "refused"


@pytest.fixture
def transaction():
    engine = create_engine("sqlite://")
    StartedRow.metadata.create_all(engine)
    with Transaction(engine) as transaction:
        yield transaction
    engine.dispose()


def session(number: int, account: str = "acc_1") -> Session:
    return Session(id=f"ses_{number}", account_id=account, workspace="/w")


def test_each_account_and_each_day_counts_by_itself(transaction):
    assert [count(transaction, session(n), "2026-01-01", 2) for n in range(3)] == [True, True, False]
    assert count(transaction, session(3, "acc_2"), "2026-01-01", 2)
    assert count(transaction, session(4), "2026-01-02", 2)


def test_a_session_that_is_resumed_does_not_count_again(transaction):
    assert [count(transaction, session(1), "2026-01-01", 1) for _again in range(3)] == [True, True, True]
    assert not count(transaction, session(2), "2026-01-01", 1)
