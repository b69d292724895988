"""Answers to "why": what a path or host is for an agent, by which key, stated where."""

# ruff: noqa: PTH109, PTH118, PTH119, PTH120 - paths are compared and passed on as text, exactly as the kernel sees them

from __future__ import annotations

import os
import re
import stat
from typing import TypeAlias

import msgspec

from oqto_platform.errors import Invalid
from oqto_platform.types import SpawnPlan
from oqto_plugin_sandbox import launch
from oqto_plugin_sandbox.egress.rules import decide
from oqto_plugin_sandbox.plan.disk import Disk
from oqto_plugin_sandbox.plan.model import Plan, is_within
from oqto_plugin_sandbox.plan.rules import denied_paths
from oqto_plugin_sandbox.plan.simulate import show
from oqto_plugin_sandbox.plan.sockets import SOCKETS_KEY
from oqto_plugin_sandbox.policy import domains
from oqto_plugin_sandbox.policy.load import PATH_DENIALS, Owner
from oqto_plugin_sandbox.policy.model import Policy
from oqto_plugin_sandbox.policy.schema import KEYS

_WORDS = {
    "absent": "is not there",
    "hidden": "is hidden: it can neither be read nor written",
    "ro": "can be read, not written",
    "rw": "can be read and written",
    "private": "is a private, empty place that can be written",
    "kernel": "is a private view of the kernel",
}


DENIED = "is denied: for the agent it is not there"

DenyLists: TypeAlias = dict[str, list[tuple[str, str]]]


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
    return judge(policy, plan, path, deny_lists(policy))


def deny_lists(policy: Policy) -> DenyLists:
    """Each deny list as it is on disk now: entries with the paths that they cover."""
    disk = Disk()
    return {
        key: [(entry, path) for entry in getattr(policy, key) for path in denied_paths([entry], disk)]
        for key in PATH_DENIALS
    }


def judge(policy: Policy, plan: Plan, path: str, denied: DenyLists) -> Answer:
    """What a sandbox with this plan shows at an absolute path, and the rule that decides."""
    sight = show(plan, path)
    rule = _denial(denied, path, sight.state) or _socket(path, sight.state) or sight.why
    is_denied = sight.state == "absent" and key_of(rule) == "deny_read"
    return _answer(policy, path, sight.state, rule, DENIED if is_denied else _WORDS[sight.state])


def _denial(denied: DenyLists, path: str, state: str) -> str:
    """The entry of a deny list that covers `path`: it is the reason even where nothing had to be masked."""
    for key, states in (("deny_read", ("absent", "hidden")), ("deny_write", ("ro",))):
        covering = (entry for entry, place in denied[key] if state in states and is_within(path, place))
        if entry := next(covering, ""):
            return f"{key}: {entry}"
    return ""


def _socket(path: str, state: str) -> str:
    """In a composed folder a socket is not masked but left out, which the folder's own rule does not say."""
    is_left_out = (
        state in ("absent", "hidden") and os.path.lexists(path) and stat.S_ISSOCK(os.lstat(path).st_mode)
    )
    return f"{SOCKETS_KEY} does not list it" if is_left_out else ""


def explain_host(policy: Policy, target: str) -> Answer:
    """Whether an agent reaches `target`, a host with an optional port (443 when there is none). Raises `Invalid`."""
    return judge_host(policy, target, *_host_and_port(target))


def judge_host(policy: Policy, target: str, host: str, port: int) -> Answer:
    """`target` is what people read."""
    mode = policy.network.mode
    if not policy.enabled or mode == "open":
        return _answer(policy, target, "allowed", "network.mode", "can be reached: the network is open")
    if mode == "isolated":
        return _answer(policy, target, "denied", "network.mode", "cannot be reached: the network is isolated")
    decision = decide(policy.network, host, port)
    words = (
        "can be reached, unless it leads to a private address" if decision.is_allowed else "cannot be reached"
    )
    return _answer(policy, target, "allowed" if decision.is_allowed else "denied", decision.rule, words)


def _host_and_port(target: str) -> tuple[str, int]:
    """An IPv6 address has a port behind brackets only."""
    has_port = target.count(":") == 1 or "]:" in target
    host, _, port = target.rpartition(":") if has_port else (target, "", "443")
    is_port = port.isascii() and port.isdigit() and 0 < int(port) <= domains.MAX_PORT
    if not host or not is_port or any(map(str.isspace, host)):
        raise Invalid(
            f"{target!r} is no host with a port from 1 to {domains.MAX_PORT}, such as example.org:443"
        )
    return host, int(port)


def _absolute(target: str, home: str) -> str:
    text = home + target[1:] if target == "~" or target.startswith("~/") else target
    path = os.path.normpath(os.path.join(os.getcwd(), text))
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _answer(policy: Policy, target: str, verdict: str, rule: str, words: str) -> Answer:
    stated = stated_at(policy, rule)
    origin = f" ({stated})" if stated else ""
    return Answer(
        target=target,
        verdict=verdict,
        rule=rule,
        stated=stated,
        sentence=f"{target} {words}. Rule: {rule}{origin}",
    )


def key_of(rule: str) -> str:
    """The key of the policy that a rule begins with; empty for the rules of the platform itself."""
    key = next(iter(re.findall(r"^[a-z_.]+", rule)), "")
    return key if key in _KNOWN else ""


def stated_at(policy: Policy, rule: str) -> str:
    """Which file, line or profile states the rule."""
    key, built_in = key_of(rule), f"profile {policy.profile}"
    if key in PATH_DENIALS:
        return policy.sources.get(rule.replace(": ", "=", 1), built_in)
    return policy.sources.get(key, built_in) if key else ""


_KNOWN = {*Policy.__struct_fields__, *KEYS}
