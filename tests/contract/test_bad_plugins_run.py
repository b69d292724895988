"""Bad plugins that only show when they are called: the caller goes on, and somebody is told which plugin it was."""

from __future__ import annotations

import asyncio
import time
import warnings
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import pytest

from oqto_platform.errors import NotFound, Refusal
from oqto_platform.hooks import HookError, Hooks, PluginDeprecationWarning, hookimpl, implementation, walk
from oqto_platform.logs import redact
from oqto_platform.settings import Secret
from oqto_platform.types import (
    Account,
    AccountId,
    Check,
    Credentials,
    Identity,
    Outcome,
    Reservation,
    ReservationId,
    Session,
    SessionId,
    SpawnPlan,
    Template,
)

ACCOUNT = Account(id=AccountId("acc_1"), name="Ada")
SESSION = Session(id=SessionId("ses_1"), account_id=ACCOUNT.id, workspace="/w")
PLAN = SpawnPlan(argv=("/bin/agent",), cwd="/w", env={"KEPT": "1"})
ASKED = Outcome(reason="asked")


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(walk, "GRACE_S", 0.02)

    def shorten(hooks: Hooks, name: str) -> Hooks:
        hooks.policies[name] = replace(hooks.policies[name], timeout_s=0.02)
        return hooks

    return shorten


@pytest.fixture
def weather(install):
    """`weather("runner", spawn=function)`: an installed plugin with a version, and the hooks that hold it."""

    def load(side: str = "core", **functions) -> Hooks:
        install(weather=SimpleNamespace(**{name: hookimpl(function) for name, function in functions.items()}))
        return Hooks.load(side)

    return load


def fail(*_):
    raise RuntimeError("boom")


async def test_a_failure_names_plugin_version_hook_and_repair(weather):
    async def session_starting(session):
        raise RuntimeError("boom")

    with pytest.raises(HookError) as failed:
        await weather(session_starting=session_starting).call.session_starting(SESSION, ACCOUNT)
    assert failed.value.detail == (
        "plugin 'weather' (oqto-plugin-weather 2.7.1) failed in session_starting: RuntimeError: boom. "
        "See the log, or: oqtoctl plugins disable weather"
    )


async def test_who_is_only_told_fails_in_the_log_with_all_of_that(weather, logs):
    await weather(session_started=lambda session: fail()).call.session_started(SESSION)
    (entry,) = (entry for entry in logs if entry["log_level"] == "error")
    said = {name: entry[name] for name in ("plugin", "version", "hook", "reason", "repair")}
    assert said == {
        "plugin": "weather", "version": "2.7.1", "hook": "session_started", "reason": "RuntimeError: boom",
        "repair": "oqtoctl plugins disable weather",
    }  # fmt: skip


class Stubborn:
    """Swallows every cancellation, and keeps what may end it."""

    def __init__(self) -> None:
        self.has_ended = asyncio.Event()

    @hookimpl
    async def budget_reserve(self):
        await self.session_started()

    @hookimpl
    async def session_started(self):
        try:
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    continue
        finally:
            self.has_ended.set()


async def test_nobody_waits_for_one_that_swallows_its_cancellation(make_hooks, make_plugin, impatient, logs):
    told = []
    stubborn = Stubborn()
    hooks = make_hooks(
        a=stubborn,
        b=make_plugin(session_started=lambda session: told.append("b")),
    )
    await impatient(hooks, "session_started").call.session_started(SESSION)
    assert told == ["b"]
    assert hooks.tallies()["session_started", "a"].last_failure == "took too long"
    # It is ended, or the process would wait for it for ever.
    await stubborn.has_ended.wait()
    while walk._abandoned:
        await asyncio.sleep(0)
    assert any(entry["event"].startswith("a plugin does not let itself be cancelled") for entry in logs)


async def test_money_does_not_wait_for_one_either_and_stays_closed(make_hooks, make_plugin, impatient, logs):
    stubborn = Stubborn()
    hooks = impatient(make_hooks(a=stubborn), "budget_reserve")
    with pytest.raises(HookError, match="'a' failed in budget_reserve: took too long"):
        await hooks.call.budget_reserve(SESSION, ACCOUNT)
    await stubborn.has_ended.wait()


async def test_who_is_cancelled_itself_does_not_wait_for_one_either(make_hooks, make_plugin, impatient, logs):
    stubborn = Stubborn()
    hooks = impatient(make_hooks(a=stubborn), "shutdown")
    caller = asyncio.create_task(hooks.call.session_started(SESSION))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await stubborn.has_ended.wait()


async def test_an_answer_that_comes_too_late_has_no_effect(make_hooks, make_plugin, impatient, logs):
    late = asyncio.Event()

    async def slow(plan):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            late.set()
        return msgspec.structs.replace(plan, argv=("/bin/evil",))

    told = []
    hooks = make_hooks(
        a=make_plugin(session_started=lambda session: slow(PLAN)),
        b=make_plugin(session_started=lambda session: told.append("b")),
    )
    await impatient(hooks, "session_started").call.session_started(SESSION)
    await late.wait()
    while walk._abandoned:
        await asyncio.sleep(0)
    assert told == ["b"], "the late one must not walk on to the next a second time"
    assert hooks.tallies()["session_started", "a"].calls == 1


async def test_one_that_blocks_the_loop_while_it_runs_is_named(weather, logs):
    async def session_started(session):
        await asyncio.sleep(0)
        time.sleep(0.06)

    await weather(session_started=session_started).call.session_started(SESSION)
    (entry,) = logs
    assert (entry["event"], entry["plugin"], entry["version"], entry["hook"]) == (
        "plugin blocks the event loop", "weather", "2.7.1", "session_started",
    )  # fmt: skip
    assert entry["ms"] >= 60
    assert "asyncio.to_thread" in entry["repair"]


async def test_a_change_of_an_argument_in_place_reaches_nobody(make_hooks, make_plugin, logs):
    def vandal(plan):
        plan.env["LD_PRELOAD"] = "/tmp/evil.so"

    seen = []
    hooks = make_hooks(
        "runner", a=make_plugin(spawn=vandal), b=make_plugin(spawn=lambda plan: seen.append(dict(plan.env)))
    )
    plan = await hooks.call.spawn(SESSION, PLAN)
    assert plan.env == PLAN.env == seen[0] == {"KEPT": "1"}
    (entry,) = logs
    assert (entry["plugin"], entry["hook"], entry["argument"]) == ("a", "spawn", "plan")
    assert "msgspec.structs.replace" in entry["repair"]


async def test_an_answer_without_measure_is_a_failure(weather):
    many = [Template(name=str(n), title="x" * 100) for n in range(20_000)]
    hooks = weather(
        list_templates=lambda account: many, budget_reserve=lambda: Reservation(id=ReservationId("r" * 2**21))
    )
    with pytest.raises(
        HookError,
        match=r"'weather' \(oqto-plugin-weather 2.7.1\).*list_templates with 3\.1 MB; 1 MB is the limit",
    ):
        await hooks.call.list_templates(ACCOUNT)
    with pytest.raises(HookError, match=r"budget_reserve with 2\.1 MB"):
        await hooks.call.budget_reserve(SESSION, ACCOUNT)


async def test_an_endless_message_is_cut(weather):
    def session_starting(session):
        raise RuntimeError("x" * 10_000_000)

    with pytest.raises(HookError) as failed:
        await weather(session_starting=session_starting).call.session_starting(SESSION, ACCOUNT)
    assert len(failed.value.detail) < 3_000


async def test_a_plugin_does_not_get_a_secret_out_by_failing_or_logging(weather, logs):
    def authenticate(credentials):
        raise ValueError(f"no {credentials.password} at ldap, my key is sk-0123456789abcdef")

    hooks = weather(authenticate=authenticate)
    with pytest.raises(HookError) as failed:
        await hooks.call.authenticate(Credentials(name="ada", password="correct horse"))
    assert "no *** at ldap, my key is ***" in failed.value.detail
    shown = redact(None, "info", {"event": "x", "who": Credentials(name="a", password="correct horse"),
                                  "api_key": "plain", "held": Secret("plain"), "text": "sk-0123456789abcdef"})  # fmt: skip
    assert "correct horse" not in f"{shown}"
    assert "plain" not in f"{shown}"
    assert "sk-" not in f"{shown}"


async def test_one_that_keeps_failing_is_switched_off_said_so_and_tried_again(weather, logs, monkeypatch):
    told = []

    def session_stopped(session, outcome):
        told.append(1)
        raise RuntimeError("boom")

    hooks = weather(session_stopped=session_stopped)
    for _ in range(8):
        await hooks.call.session_stopped(SESSION, ASKED)
    tally = hooks.tallies()["session_stopped", "weather"]
    assert (len(told), tally.failures, tally.skipped, tally.is_off) == (5, 5, 3, True)
    off = next(entry for entry in logs if entry["event"] == "plugin switched off for a hook")
    assert (off["plugin"], off["version"], off["hook"]) == ("weather", "2.7.1", "session_stopped")
    assert off["repair"] == "oqtoctl plugins reset weather"
    (check,) = (await hooks.call.health())["weather"]
    assert check == Check(
        name="weather.session_stopped",
        ok=False,
        detail="switched off after 5 failures in a row; the last: RuntimeError: boom",
        repair="see the log; then: oqtoctl plugins reset weather, or: oqtoctl plugins disable weather",
    )
    monkeypatch.setattr(implementation, "REST_S", 0.0)
    await hooks.call.session_stopped(SESSION, ASKED)
    assert len(told) == 6
    assert tally.is_off


async def test_one_that_is_well_again_is_called_again(weather, logs, monkeypatch):
    is_ill = True

    def session_stopped(session, outcome):
        if is_ill:
            raise RuntimeError("boom")

    hooks = weather(session_stopped=session_stopped)
    for _ in range(5):
        await hooks.call.session_stopped(SESSION, ASKED)
    is_ill = False
    tally = hooks.tallies()["session_stopped", "weather"]
    assert tally.is_off
    monkeypatch.setattr(implementation, "REST_S", 0.0)
    await hooks.call.session_stopped(SESSION, ASKED)
    assert not tally.is_off
    assert "weather" not in await hooks.call.health()


async def test_an_admin_switches_one_on_again(weather, logs):
    hooks = weather(session_stopped=fail)
    for _ in range(6):
        await hooks.call.session_stopped(SESSION, ASKED)
    assert hooks.switch_on("weather") == ["session_stopped"]
    assert hooks.switch_on("weather") == []
    await hooks.call.session_stopped(SESSION, ASKED)
    assert hooks.tallies()["session_stopped", "weather"].failures == 6
    with pytest.raises(NotFound, match="no plugin 'wether' is loaded; there are: weather"):
        hooks.switch_on("wether")


async def test_failures_that_do_not_come_in_a_row_switch_nothing_off(weather, logs):
    count = 0

    def session_stopped(session, outcome):
        nonlocal count
        count += 1
        if count % 5:
            raise RuntimeError("boom")

    hooks = weather(session_stopped=session_stopped)
    for _ in range(20):
        await hooks.call.session_stopped(SESSION, ASKED)
    assert count == 20


@pytest.mark.parametrize("side", ["core", "runner"])
async def test_money_and_safety_are_asked_however_often_they_fail(weather, side, logs):
    asked = []

    def broken():
        asked.append(1)
        raise RuntimeError("boom")

    calls = {
        "core": ["budget_reserve", "budget_settle", "authorize", "session_starting", "authenticate"],
        "runner": ["confine", "spawn"],
    }[side]
    hooks = weather(side, **dict.fromkeys(calls, broken))
    arguments = {"session": SESSION, "account": ACCOUNT, "plan": PLAN, "reservation_id": "r", "action": "a", "target": "t",
                 "identity": Identity(account_id=ACCOUNT.id, name="Ada"), "credentials": Credentials(name="a", password="b")}  # fmt: skip
    for hook in calls:
        for _ in range(7):
            with pytest.raises(HookError):
                await hooks.run(hook, **arguments)
    assert len(asked) == 7 * len(calls)


async def test_a_refusal_is_no_failure(weather):
    def session_starting(session):
        raise Refusal("maintenance")

    hooks = weather(session_starting=session_starting)
    with pytest.raises(Refusal):
        await hooks.call.session_starting(SESSION, ACCOUNT)
    assert hooks.tallies()["session_starting", "weather"].failures == 0


@pytest.fixture
def deprecated(monkeypatch):
    """`deprecated("session_started", arguments={…}, hook="…")`: the catalogue of a later release."""
    from oqto_platform import hookspecs

    def mark(name: str, *, hook: str = "", arguments: dict[str, str] = {}) -> None:  # noqa: B006
        spec = getattr(hookspecs, name)
        policy = replace(spec.policy, deprecated=hook, deprecated_arguments=arguments)
        monkeypatch.setattr(spec, "policy", policy)

    return mark


def test_what_will_go_is_said_to_author_and_admin(weather, deprecated, logs):
    deprecated("session_started", hook="since 1.2, implement session_stopped instead")
    deprecated("session_stopped", arguments={"outcome": "since 1.2, ask session.outcome"})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        weather(session_started=lambda session: None, session_stopped=lambda session, outcome: None)
    texts = sorted(str(one.message) for one in caught if one.category is PluginDeprecationWarning)
    assert texts == [
        "plugin 'weather' (oqto-plugin-weather 2.7.1): the argument outcome of session_stopped is deprecated: since 1.2, ask session.outcome",
        "plugin 'weather' (oqto-plugin-weather 2.7.1): the hook session_started is deprecated: since 1.2, implement session_stopped instead",
    ]  # fmt: skip
    assert {(entry["plugin"], entry["version"]) for entry in logs} == {("weather", "2.7.1")}


def test_who_does_not_use_what_will_go_hears_nothing(weather, deprecated, logs):
    deprecated("session_stopped", arguments={"outcome": "since 1.2, ask session.outcome"})
    weather(session_stopped=lambda session: None)
    assert logs == []
