"""The dispatcher against plugins that misbehave: what each mode promises to the caller."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from oqto_platform.errors import BudgetExceeded, Refusal
from oqto_platform.hooks import HookError, PerPlugin
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
    Settlement,
    SpawnPlan,
    Template,
)

ACCOUNT = Account(id=AccountId("acc_1"), name="Ada")
SESSION = Session(id=SessionId("ses_1"), account_id=ACCOUNT.id, workspace="/w")
ADA = Identity(account_id=ACCOUNT.id, name="Ada")
PLAN = SpawnPlan(argv=("/bin/agent",), cwd="/w")
CREDENTIALS = Credentials(name="ada", password="x")


@pytest.fixture
def impatient(monkeypatch):
    """`impatient(hooks, "spawn")`: the hook's time-out is a moment."""

    def shorten(hooks, name, timeout_s=0.03):
        hooks.policies[name] = replace(hooks.policies[name], timeout_s=timeout_s)
        return hooks

    return shorten


async def hang(**_):
    await asyncio.Event().wait()


def raiser(exc):
    async def fail():
        raise exc

    return fail


def test_the_last_in_the_alphabet_is_called_first_unless_marked(make_hooks, make_plugin, install):
    told = []

    def listener(name, **marks):
        from oqto_platform.hooks import hookimpl

        class Plugin:
            @hookimpl(**marks)
            async def session_started(self):
                told.append(name)

        return Plugin()

    install(
        ant=listener("ant", tryfirst=True),
        bee=listener("bee", trylast=True),
        cat=listener("cat"),
        dog=listener("dog"),
    )
    from oqto_platform.hooks import Hooks

    asyncio.run(Hooks.load("core").call.session_started(SESSION))
    assert told == ["ant", "dog", "cat", "bee"]


async def test_a_builtin_that_asks_to_be_last_answers_after_installed_plugins(make_plugin, install):
    from oqto_platform.hooks import Hooks, hookimpl

    class Builtin:
        @hookimpl(trylast=True)
        async def authenticate(self, credentials):
            return Identity(account_id=AccountId("from-table"), name="t")

    install(ldap=make_plugin(authenticate=lambda credentials: ADA))
    hooks = Hooks.load("core", builtins={"builtin": Builtin()})
    assert await hooks.call.authenticate(CREDENTIALS) == ADA


async def test_notify_reaches_everybody_whatever_some_do(make_hooks, make_plugin, impatient, logs):
    told = []

    def refuse():
        raise Refusal("I do not want to hear it")

    def remember(session):
        told.append(session.id)

    hooks = make_hooks(
        a=make_plugin(session_started=raiser(RuntimeError("boom"))),
        b=make_plugin(session_started=lambda: hang()),
        c=make_plugin(session_started=refuse),
        d=make_plugin(session_started=lambda: "an answer nobody asked for"),
        e=make_plugin(session_started=remember),
    )
    await impatient(hooks, "session_started").call.session_started(SESSION)
    assert told == ["ses_1"]
    assert [
        (entry["plugin"], entry["hook"]) for entry in logs if entry["log_level"] in ("error", "warning")
    ] == [
        ("a", "session_started"),
        ("b", "session_started"),
        ("c", "session_started"),
    ]


async def test_check_ends_with_the_first_refusal_in_its_own_words(make_hooks, make_plugin):
    asked = []
    hooks = make_hooks(
        a=make_plugin(session_starting=lambda session: asked.append("a")),
        b=make_plugin(session_starting=raiser(Refusal("maintenance until noon"))),
        c=make_plugin(session_starting=lambda session: asked.append("c")),
    )
    with pytest.raises(Refusal) as refused:
        await hooks.call.session_starting(SESSION, ACCOUNT)
    assert refused.value.detail == "maintenance until noon"
    assert asked == ["a"]


@pytest.mark.parametrize("mode", ["check", "first", "fold", "collect"])
async def test_a_refusal_passes_every_mode_but_notify(make_hooks, make_plugin, mode):
    no = Refusal("no")
    hooks = make_hooks("runner" if mode == "fold" else "core", a=make_plugin(**{
        {"check": "authorize", "first": "budget_reserve", "fold": "spawn", "collect": "list_models"}[mode]: raiser(no)
    }))  # fmt: skip
    calls = {
        "check": lambda: hooks.call.authorize(ADA, "session.start", "/w"),
        "first": lambda: hooks.call.budget_reserve(SESSION, ACCOUNT),
        "fold": lambda: hooks.call.spawn(SESSION, PLAN),
        "collect": lambda: hooks.call.list_models(ACCOUNT),
    }
    with pytest.raises(Refusal) as refused:
        await calls[mode]()
    assert refused.value is no


async def test_first_takes_the_first_answer_and_asks_nobody_further(make_hooks, make_plugin):
    asked = []

    async def mine(session):
        asked.append("b")
        return Reservation(id=ReservationId("r1"))

    hooks = make_hooks(
        a=make_plugin(budget_reserve=lambda session: asked.append("a")),
        b=make_plugin(budget_reserve=mine),
        c=make_plugin(budget_reserve=lambda session: asked.append("c")),
    )
    answer = await hooks.call.budget_reserve(SESSION, ACCOUNT)
    assert answer is not None
    assert answer.id == "r1"
    assert asked == ["a", "b"]


async def test_first_without_an_answer_is_none(make_hooks, make_plugin):
    assert await make_hooks().call.budget_reserve(SESSION, ACCOUNT) is None
    hooks = make_hooks(a=make_plugin(budget_reserve=lambda: None))
    assert await hooks.call.budget_reserve(SESSION, ACCOUNT) is None


async def test_money_fails_closed_nobody_behind_a_broken_plugin_is_asked(make_hooks, make_plugin):
    hooks = make_hooks(
        a=make_plugin(budget_reserve=raiser(OSError("ledger gone"))),
        b=make_plugin(budget_reserve=lambda: Reservation(id=ReservationId("free money"))),
    )
    with pytest.raises(HookError) as failed:
        await hooks.call.budget_reserve(SESSION, ACCOUNT)
    assert failed.value.detail == (
        "plugin 'a' failed in budget_reserve: OSError: ledger gone. See the log, or: oqtoctl plugins disable a"
    )
    assert failed.value.extra == {"hook": "budget_reserve", "plugin": "a"}
    assert isinstance(failed.value.__cause__, OSError)
    assert (failed.value.status, failed.value.code) == (503, "plugin-failed")


async def test_another_error_of_ours_from_a_plugin_still_names_the_plugin(make_hooks, make_plugin):
    hooks = make_hooks(a=make_plugin(budget_reserve=raiser(BudgetExceeded("the month's money is spent"))))
    with pytest.raises(HookError, match=r"plugin 'a' failed in budget_reserve: .*the month's money is spent"):
        await hooks.call.budget_reserve(SESSION, ACCOUNT)


async def test_a_hanging_plugin_is_given_up_and_named(make_hooks, make_plugin, impatient):
    hooks = impatient(make_hooks(slow=make_plugin(budget_settle=lambda: hang())), "budget_settle")
    with pytest.raises(HookError, match=r"plugin 'slow' failed in budget_settle: took too long"):
        await hooks.call.budget_settle(SESSION, "r1")


async def test_what_is_oqto_itself_is_not_to_be_disabled(make_hooks, make_plugin):
    hooks = make_hooks(builtin=make_plugin(budget_reserve=raiser(OSError("ledger gone"))))
    with pytest.raises(HookError) as failed:
        await hooks.call.budget_reserve(SESSION, ACCOUNT)
    assert failed.value.detail == (
        "Oqto itself failed in budget_reserve: OSError: ledger gone. Try again; if it stays so, the log says more"
    )


async def test_fold_hands_each_the_value_of_the_one_before(make_hooks, make_plugin):
    import msgspec

    def add(word):
        return lambda plan: msgspec.structs.replace(plan, argv=(*plan.argv, word))

    hooks = make_hooks(
        "runner",
        a=make_plugin(spawn=add("--a")),
        b=make_plugin(spawn=lambda plan: None),
        c=make_plugin(spawn=add("--c")),
    )
    plan = await hooks.call.spawn(SESSION, PLAN)
    assert plan.argv == ("/bin/agent", "--a", "--c")
    assert PLAN.argv == ("/bin/agent",)


async def test_fold_with_a_failing_plugin_gives_no_half_made_value(make_hooks, make_plugin):
    hooks = make_hooks(
        "runner", a=make_plugin(spawn=lambda plan: plan), b=make_plugin(spawn=raiser(KeyError("x")))
    )
    with pytest.raises(HookError, match="'b' failed in spawn"):
        await hooks.call.spawn(SESSION, PLAN)


async def test_collect_keeps_every_answer_under_its_plugin(make_hooks, make_plugin):
    one, two = Template(name="one", title="One"), Template(name="two", title="Two")
    hooks = make_hooks(
        a=make_plugin(list_templates=lambda: [one]),
        b=make_plugin(list_templates=lambda: None),
        c=make_plugin(list_templates=lambda: (two,)),
    )
    assert await hooks.call.list_templates(ACCOUNT) == {"a": [one], "c": (two,)}


async def test_a_failing_health_check_is_itself_a_failing_check(make_hooks, make_plugin, impatient):
    fine = Check(name="disk", ok=True)
    hooks = make_hooks(
        a=make_plugin(health=raiser(RuntimeError("no database"))),
        b=make_plugin(health=lambda: hang()),
        c=make_plugin(health=lambda: "all good"),
        d=make_plugin(health=lambda: ["not a check"]),
        e=make_plugin(health=lambda: [fine]),
    )
    answers = await impatient(hooks, "health").call.health()
    assert answers["e"] == [fine]
    for name, words in {"a": "no database", "b": "too long", "c": "str", "d": "str"}.items():
        (check,) = answers[name]
        assert (check.ok, check.name) == (False, name)
        assert words in check.detail
        assert check.repair == f"see the log, or: oqtoctl plugins disable {name}"


@pytest.mark.parametrize("answer", ["r1", 7, {"id": "r1"}, [], Settlement(spent_nusd=0), ()])
async def test_a_wrong_answer_is_a_failure_of_the_plugin(make_hooks, make_plugin, answer):
    hooks = make_hooks(a=make_plugin(budget_reserve=lambda: answer))
    with pytest.raises(HookError, match=r"'a' answered budget_reserve with .*expected Reservation"):
        await hooks.call.budget_reserve(SESSION, ACCOUNT)


async def test_our_own_cancellation_passes_through_at_once(make_hooks, make_plugin):
    begun, ended = asyncio.Event(), asyncio.Event()

    async def long():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    hooks = make_hooks(a=make_plugin(session_started=long), b=make_plugin(session_started=lambda: 1 / 0))
    task = asyncio.create_task(hooks.call.session_started(SESSION))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_a_cancellation_that_a_plugin_made_is_its_own_failure(make_hooks, make_plugin, logs):
    """A plugin that awaits a task of its own which was cancelled must not cancel the request of a person."""
    told = []

    async def careless():
        inner = asyncio.create_task(asyncio.Event().wait())
        inner.cancel()
        await inner

    hooks = make_hooks(
        a=make_plugin(session_started=careless, budget_settle=careless),
        b=make_plugin(session_started=lambda: told.append("b")),
    )
    await hooks.call.session_started(SESSION)
    assert told == ["b"]
    with pytest.raises(HookError, match="plugin 'a' failed in budget_settle"):
        await hooks.call.budget_settle(SESSION, "r")


async def test_a_plugin_that_exits_does_not_end_the_server(make_hooks, make_plugin, logs):
    hooks = make_hooks(
        a=make_plugin(session_stopped=raiser(SystemExit(3)), startup=raiser(SystemExit("no licence")))
    )
    await hooks.call.session_stopped(SESSION, Outcome(reason="asked"))
    with pytest.raises(HookError, match="plugin 'a' failed in startup: SystemExit: no licence"):
        await hooks.call.startup(PerPlugin(lambda name: name))


async def test_a_plugin_that_blocks_the_loop_is_named(make_hooks, make_plugin, logs):
    hooks = make_hooks(a=make_plugin(session_started=lambda: time.sleep(0.06)))
    await hooks.call.session_started(SESSION)
    assert [(e["event"], e["plugin"], e["hook"]) for e in logs] == [
        ("plugin blocks the event loop", "a", "session_started")
    ]


async def test_each_plugin_gets_its_own_context(make_hooks, make_plugin):
    seen = {}

    def start(name):
        return lambda context: seen.__setitem__(name, context)

    hooks = make_hooks(a=make_plugin(startup=start("a")), b=make_plugin(startup=start("b")))
    await hooks.call.startup(PerPlugin(lambda plugin: f"context of {plugin}"))
    assert seen == {"a": "context of a", "b": "context of b"}


async def test_an_implementation_names_only_the_arguments_it_wants(make_hooks, make_plugin):
    seen = []
    hooks = make_hooks(
        a=make_plugin(authorize=lambda: seen.append(())),
        b=make_plugin(authorize=lambda target, identity: seen.append((target, identity.name))),
        c=make_plugin(authorize=lambda action, unknown="default": seen.append((action, unknown))),
    )
    await hooks.call.authorize(ADA, "session.start", "/w")
    assert seen == [(), ("/w", "Ada"), ("session.start", "default")]


async def test_tallies_count_calls_failures_and_time(make_hooks, make_plugin, logs):
    hooks = make_hooks(
        a=make_plugin(session_started=raiser(ValueError())), b=make_plugin(session_started=lambda: None)
    )
    for _ in range(3):
        await hooks.call.session_started(SESSION)
    tallies = hooks.tallies()
    assert (tallies["session_started", "a"].calls, tallies["session_started", "a"].failures) == (3, 3)
    assert (tallies["session_started", "b"].calls, tallies["session_started", "b"].failures) == (3, 0)
    assert tallies["session_started", "b"].seconds > 0
