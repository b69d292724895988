"""Answers to "why": what a path or host is for an agent, by which key, stated where."""

# ruff: noqa: PTH109, PTH118, PTH119, PTH120 - paths are compared and passed on as text, exactly as the kernel sees them

from __future__ import annotations

import os
import re

import msgspec

from oqto_platform.types import SpawnPlan
from oqto_plugin_sandbox import launch
from oqto_plugin_sandbox.egress.rules import decide
from oqto_plugin_sandbox.plan.model import is_within
from oqto_plugin_sandbox.plan.rules import denied_paths
from oqto_plugin_sandbox.plan.simulate import show
from oqto_plugin_sandbox.policy.load import Owner
from oqto_plugin_sandbox.policy.model import Policy

_WORDS = {
    "absent": "is not there",
    "hidden": "is hidden: it can neither be read nor written",
    "ro": "can be read, not written",
    "rw": "can be read and written",
    "private": "is a private, empty place that can be written",
    "kernel": "is a private view of the kernel",
}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`verdict` is a state of a path or `allowed`/`denied` for a host; `stated` are `file:line` places."""

    target: str
    verdict: str
    rule: str
    stated: str
    sentence: str


def explain_path(policy: Policy, workspace: str, target: str, who: Owner) -> Answer:
    """What an agent in `workspace` finds at `target`. Nothing is mounted or made."""
    path = _absolute(target, who.home)
    if not policy.enabled:
        return _answer(policy, path, "rw", "enabled", "can be read and written as by you: the sandbox is off")
    plan = launch.design(
        policy, workspace, SpawnPlan(argv=("true",), cwd=workspace), who.home, who.uid, reserves=True
    ).plan
    sight = show(plan, path)
    return _answer(
        policy, path, sight.state, _denial(policy, path, sight.state) or sight.why, _WORDS[sight.state]
    )


def _denial(policy: Policy, path: str, state: str) -> str:
    """The entry of a deny list that covers `path`: it is the reason even where nothing had to be masked."""
    for key, states, entries in (
        ("deny_read", ("absent", "hidden"), policy.deny_read),
        ("deny_write", ("ro",), policy.deny_write),
    ):
        covering = (
            [entry for entry in denied_paths(entries) if is_within(path, entry)] if state in states else []
        )
        if covering:
            return f"{key}: {covering[0]}"
    return ""


def explain_host(policy: Policy, target: str) -> Answer:
    """Whether an agent reaches `target`, a host with an optional port (443 when there is none)."""
    mode = policy.network.mode
    if not policy.enabled or mode == "open":
        return _answer(policy, target, "allowed", "network.mode", "can be reached: the network is open")
    if mode == "isolated":
        return _answer(policy, target, "denied", "network.mode", "cannot be reached: the network is isolated")
    host, _, port = target.partition(":")
    decision = decide(policy.network, host, int(port) if port.isdigit() else 443)
    words = (
        "can be reached, unless it leads to a private address" if decision.is_allowed else "cannot be reached"
    )
    return _answer(policy, target, "allowed" if decision.is_allowed else "denied", decision.rule, words)


def _absolute(target: str, home: str) -> str:
    text = home + target[1:] if target == "~" or target.startswith("~/") else target
    path = os.path.normpath(os.path.join(os.getcwd(), text))
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _answer(policy: Policy, target: str, verdict: str, rule: str, words: str) -> Answer:
    key = next(iter(re.findall(r"^[a-z_.]+", rule)), "")
    stated = policy.sources.get(key, "") or (f"profile {policy.profile}" if key in _KNOWN else "")
    origin = f" ({stated})" if stated else ""
    return Answer(
        target=target,
        verdict=verdict,
        rule=rule,
        stated=stated,
        sentence=f"{target} {words}. Rule: {rule}{origin}",
    )


_KNOWN = {*Policy.__struct_fields__, "network.mode", "network.allow_domains", "network.deny_domains"}
