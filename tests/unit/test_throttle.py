"""How often a password may be tried, by a clock that the test turns."""

from __future__ import annotations

import pytest

from oqto_platform.auth import throttle as module
from oqto_platform.auth.throttle import PER_ADDRESS, PER_NAME, Throttle
from oqto_platform.errors import LimitReached


@pytest.fixture
def clock(turn):
    return turn("oqto_platform.auth.throttle.monotonic")


@pytest.fixture
def throttle():
    return Throttle()


def fail(throttle, name="ada", address="10.0.0.1", times=1):
    for _ in range(times):
        throttle.take(name, address)


def test_after_five_wrong_passwords_a_name_waits_out_the_minute(throttle, clock):
    fail(throttle, times=PER_NAME)
    clock.pass_(20)
    with pytest.raises(LimitReached, match="too many tries; wait 40 s and try again") as refused:
        throttle.take("ada", "10.0.0.2")
    assert refused.value.extra == {"retry_after_s": 40}
    clock.pass_(40.1)
    throttle.take("ada", "10.0.0.2")


def test_the_minute_slides(throttle, clock):
    for _ in range(PER_NAME):
        fail(throttle)
        clock.pass_(10)
    with pytest.raises(LimitReached) as refused:
        throttle.take("ada", "x")
    assert refused.value.extra["retry_after_s"] == 10
    clock.pass_(10.1)
    fail(throttle)
    with pytest.raises(LimitReached):
        throttle.take("ada", "x")


def test_another_name_and_address_are_not_held_up(throttle, clock):
    fail(throttle, times=PER_NAME)
    throttle.take("bob", "10.0.0.1")


def test_one_address_cannot_try_many_names(throttle, clock):
    for number in range(PER_ADDRESS):
        fail(throttle, name=f"name{number}")
    with pytest.raises(LimitReached):
        throttle.take("fresh", "10.0.0.1")
    throttle.take("fresh", "10.0.0.2")


def test_the_right_password_clears_the_name_and_not_the_address(throttle, clock):
    for _ in range(PER_ADDRESS // 2 - 1):
        fail(throttle, times=2)
        throttle.take("ada", "10.0.0.1")
        throttle.succeeded("ada", "10.0.0.1")
    fail(throttle, times=2)
    throttle.take("ada", "10.0.0.2")
    with pytest.raises(LimitReached):
        throttle.take("bob", "10.0.0.1")


def test_memory_is_bounded(throttle, clock, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 50)
    for number in range(500):
        throttle.take(f"name{number}", f"10.0.{number}.1")
    assert len(throttle._failures) <= 50
