"""For any set of plugins that answer, raise, hang, refuse or say nothing: the law of each mode."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from oqto_platform.errors import Refusal
from oqto_platform.hooks import HookError, Hooks, hookimpl
from oqto_platform.types import (
    Account,
    AccountId,
    Outcome,
    Session,
    SessionId,
    Settlement,
    SpawnPlan,
    Template,
)

ACCOUNT = Account(id=AccountId("acc_1"), name="Ada")
SESSION = Session(id=SessionId("ses_1"), account_id=ACCOUNT.id, workspace="/w")
PLAN = SpawnPlan(argv=("agent",), cwd="/w")
TIMEOUT_S = 0.02

BEHAVIOURS = st.lists(
    st.sampled_from(["answer", "none", "raise", "hang", "refuse", "wrong", "cancelled"]), max_size=5
)
BAD = {"raise", "hang", "wrong", "cancelled"}


def behaving(behaviour: str, number: int, told: list[int], answer):
    async def act(**arguments):
        told.append(number)
        match behaviour:
            case "answer":
                return answer(number, arguments)
            case "raise":
                raise RuntimeError(f"plugin {number}")
            case "refuse":
                raise Refusal(f"plugin {number}")
            case "hang":
                await asyncio.Event().wait()
            case "wrong":
                return object()
            case "cancelled":
                raise asyncio.CancelledError
        return None

    return act


def hooks_of(side, hook, behaviours, told, answer, signature):
    """Plugins 0, 1, 2 … in the order in which they are called."""
    hooks = Hooks(side)
    for number, behaviour in reversed(list(enumerate(behaviours))):
        function = signature(behaving(behaviour, number, told, answer))
        hooks.register(SimpleNamespace(**{hook: hookimpl(function)}), f"p{number}")
    hooks.checked()
    hooks.policies[hook] = replace(hooks.policies[hook], timeout_s=TIMEOUT_S)
    return hooks


def outcome(call):
    """What the caller gets: `("value", v)`, `("refused", number)` or `("failed", number)`."""

    async def run():
        try:
            return "value", await call()
        except Refusal as exc:
            return "refused", int(exc.detail.split()[1])
        except HookError as exc:
            return "failed", int(exc.extra["plugin"][1:])

    with structlog.testing.capture_logs():
        return asyncio.run(run())


def first_of(behaviours, *kinds):
    return next((n for n, behaviour in enumerate(behaviours) if behaviour in kinds), None)


@settings(max_examples=60, deadline=None)
@given(BEHAVIOURS)
def test_notify_tells_everybody_and_never_raises(behaviours):
    told: list[int] = []
    hooks = hooks_of(
        "core",
        "session_stopped",
        behaviours,
        told,
        lambda n, a: n,
        lambda act: lambda session, outcome: act(),
    )
    assert outcome(lambda: hooks.call.session_stopped(SESSION, Outcome(reason="asked"))) == ("value", None)
    assert told == list(range(len(behaviours)))


@settings(max_examples=60, deadline=None)
@given(BEHAVIOURS)
def test_check_is_ended_by_the_first_who_fails_or_refuses(behaviours):
    told: list[int] = []
    hooks = hooks_of(
        "core",
        "session_starting",
        behaviours,
        told,
        lambda n, a: n,
        lambda act: lambda session, account: act(),
    )
    ended = first_of(behaviours, "raise", "hang", "cancelled", "refuse")  # an answer means nothing here
    expected = (
        ("value", None)
        if ended is None
        else ("refused" if behaviours[ended] == "refuse" else "failed", ended)
    )
    assert outcome(lambda: hooks.call.session_starting(SESSION, ACCOUNT)) == expected
    assert told == list(range(len(behaviours) if ended is None else ended + 1))


@settings(max_examples=60, deadline=None)
@given(BEHAVIOURS)
def test_first_is_the_first_answer_unless_somebody_before_it_failed(behaviours):
    told: list[int] = []
    hooks = hooks_of(
        "core", "budget_settle", behaviours, told, lambda n, a: Settlement(spent_nusd=n),
        lambda act: lambda session, reservation_id: act(),
    )  # fmt: skip
    ended = first_of(behaviours, "answer", "refuse", *BAD)
    expected = ("value", None)
    if ended is not None:
        kind = {"answer": "value", "refuse": "refused"}.get(behaviours[ended], "failed")
        expected = (kind, Settlement(spent_nusd=ended) if kind == "value" else ended)
    assert outcome(lambda: hooks.call.budget_settle(SESSION, "r")) == expected
    assert told == list(range(len(behaviours) if ended is None else ended + 1))


@settings(max_examples=60, deadline=None)
@given(BEHAVIOURS)
def test_fold_gives_the_whole_chain_or_nothing(behaviours):
    def longer(number, arguments):
        plan = arguments["plan"]
        return SpawnPlan(argv=(*plan.argv, str(number)), cwd=plan.cwd)

    told: list[int] = []
    hooks = hooks_of("runner", "spawn", behaviours, told, longer, lambda act: lambda plan: act(plan=plan))
    ended = first_of(behaviours, "refuse", *BAD)
    if ended is None:
        words = [str(n) for n, behaviour in enumerate(behaviours) if behaviour == "answer"]
        expected = ("value", SpawnPlan(argv=("agent", *words), cwd="/w"))
    else:
        expected = ("refused" if behaviours[ended] == "refuse" else "failed", ended)
    assert outcome(lambda: hooks.call.spawn(SESSION, PLAN)) == expected


@settings(max_examples=60, deadline=None)
@given(BEHAVIOURS)
def test_collect_has_every_answer_by_plugin_or_fails(behaviours):
    told: list[int] = []
    hooks = hooks_of(
        "core", "list_templates", behaviours, told, lambda n, a: [Template(name=str(n), title="")],
        lambda act: lambda account: act(),
    )  # fmt: skip
    ended = first_of(behaviours, "refuse", *BAD)
    if ended is None:
        answers = {
            f"p{n}": [Template(name=str(n), title="")] for n, b in enumerate(behaviours) if b == "answer"
        }
        expected = ("value", answers)
    else:
        expected = ("refused" if behaviours[ended] == "refuse" else "failed", ended)
    assert outcome(lambda: hooks.call.list_templates(ACCOUNT)) == expected
