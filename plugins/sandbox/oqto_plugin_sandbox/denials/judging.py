"""From clues to denials: what the policy of a sandbox says about the paths and addresses that a tool named."""

# ruff: noqa: PTH112, PTH118, PTH120 - paths are compared and passed on as text, exactly as the kernel sees them

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from oqto_platform.canon import AccessDenied
from oqto_platform.types import ToolCall
from oqto_plugin_sandbox.denials import clues
from oqto_plugin_sandbox.egress.proxy import PORT
from oqto_plugin_sandbox.egress.rules import Decision
from oqto_plugin_sandbox.explain import (
    Answer,
    DenyLists,
    deny_lists,
    judge,
    judge_host,
    key_of,
    stated_at,
)
from oqto_plugin_sandbox.plan.model import Plan
from oqto_plugin_sandbox.policy.model import Policy

LOOPBACK = ("localhost", "::1")
MOST_NAMES = 64
"""Of processes that the init process tells at the end: `init/source/supervise.c`."""

_LISTENING = "0A"
_TCP = ("/proc/net/tcp", "/proc/net/tcp6")


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """How one session is held. `home` is where `~` leads inside, `relays` are ports that are forwarded."""

    policy: Policy
    plan: Plan
    workspace: str
    home: str
    relays: tuple[int, ...] = ()


def denials(held: Held, call: ToolCall) -> Iterator[AccessDenied]:
    """What the tool call met, each rule once."""
    found = clues.find(call.input, call.output, is_error=call.is_error)
    seen: set[str] = set()
    for answer in _paths(held, found):
        if answer.rule not in seen:
            seen.add(answer.rule)
            yield _denied(held.policy, "path", answer)
    for host, port in found.reached:
        if reason := _address(held, host, port):
            yield _denied(held.policy, "network", reason)
    for key in found.limits:
        if limit := getattr(held.policy.limits, key.partition(".")[2]):
            yield limit_denied(held.policy, key, f"{key} = {limit} stopped it")


def network_denied(policy: Policy, decision: Decision) -> AccessDenied:
    """The egress proxy turned a request away."""
    target = f"{decision.host}:{decision.port}"
    rule = (
        decision.rule if key_of(decision.rule) else f"network.mode = {policy.network.mode}: {decision.rule}"
    )
    return _denied(policy, "network", _answer(policy, target, rule, "cannot be reached"))


def limit_denied(policy: Policy, key: str, what: str) -> AccessDenied:
    """A limit ended or refused something."""
    name = key.partition(".")[2]
    rule = f"{key} = {getattr(policy.limits, name)}"
    answer = _answer(policy, name, rule, what)
    return _denied(
        policy, "limit", msgspec.structs.replace(answer, sentence=f"{what}. {_rule(policy, rule)}")
    )


def processes_ended(policy: Policy, names: list[str]) -> AccessDenied:
    """Something of the agent still ran when the agent ended."""
    shown = ", ".join(dict.fromkeys(names))
    more = "at least " if len(names) >= MOST_NAMES else ""
    count = f"{more}{len(names)} background processes were" if len(names) > 1 else "a background process was"
    sentence = f"{count} ended with the session: {shown}. {_rule(policy, 'isolate_pid = true')}"
    answer = _answer(policy, shown, "isolate_pid = true", "")
    return _denied(
        policy, "process", msgspec.structs.replace(answer, sentence=sentence[0].upper() + sentence[1:])
    )


def _paths(held: Held, found: clues.Clues) -> Iterator[Answer]:
    if not found.read:
        return
    denied = deny_lists(held.policy)
    for text in found.read:
        if (path := _absolute(held, text)) and (
            answer := _path(held, path, denied, is_written=text in found.written)
        ):
            yield answer


def _path(held: Held, path: str, denied: DenyLists, *, is_written: bool) -> Answer | None:
    answer = judge(held.policy, held.plan, path, denied)
    if answer.verdict == "ro":
        return answer if is_written and os.path.lexists(_nearest(path)) else None
    if answer.verdict == "absent" and not answer.rule.startswith("deny_read") and not os.path.lexists(path):
        # It is nowhere, and no policy has to be blamed for that; only for not letting it be made.
        is_made = is_written and os.path.isdir(os.path.dirname(path))
        return _answer(held.policy, path, answer.rule, "cannot be made") if is_made else None
    return answer if answer.verdict in ("absent", "hidden") else None


def _absolute(held: Held, text: str) -> str:
    for short in ("~", "$HOME"):
        if text == short or text.startswith(short + "/"):
            text = held.home + text.removeprefix(short)
    path = os.path.normpath(os.path.join(held.workspace, text))
    return "" if "\0" in path or len(path) > os.pathconf("/", "PC_PATH_MAX") else path


def _nearest(path: str) -> str:
    """The path, or the folder in which it would be made."""
    return path if os.path.lexists(path) else os.path.dirname(path)


def _address(held: Held, host: str, port: int) -> Answer | None:
    policy = held.policy
    if policy.network.mode == "open":
        return None
    target = f"{host}:{port}"
    rule = f"network.mode = {policy.network.mode}"
    if _is_loopback(host):
        is_theirs = _somebody_listens(port) and port not in (*held.relays, PORT)
        words = "leads to the sandbox itself; services of this machine cannot be reached"
        return _answer(policy, target, rule, words) if is_theirs else None
    answer = judge_host(policy, target, host, port)
    if answer.verdict == "denied":
        return msgspec.structs.replace(answer, target=target)
    return _answer(policy, target, rule, "can be reached through the proxy of the session only")


def _is_loopback(host: str) -> bool:
    try:
        return host in LOOPBACK or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _somebody_listens(port: int) -> bool:
    """Outside. Without a listener there a refused connection is not the sandbox's doing."""
    sign = f":{port:04X} "
    for file in _TCP:
        try:
            lines = Path(file).read_text().splitlines()[1:]
        except OSError:
            continue
        fields = (line.split() for line in lines if sign in line)
        if any(field[1].endswith(sign.strip()) and field[3] == _LISTENING for field in fields):
            return True
    return False


def _rule(policy: Policy, rule: str) -> str:
    stated = stated_at(policy, rule)
    return f"Rule: {rule}" + (f" ({stated})" if stated else "")


def _answer(policy: Policy, target: str, rule: str, words: str) -> Answer:
    return Answer(
        target=target, verdict="denied", rule=rule, stated=stated_at(policy, rule),
        sentence=f"{target} {words}. {_rule(policy, rule)}",
    )  # fmt: skip


def _denied(policy: Policy, kind: Any, answer: Answer) -> AccessDenied:
    return AccessDenied(
        kind=kind, target=answer.target, sentence=answer.sentence, rule=answer.rule, key=key_of(answer.rule),
        stated=answer.stated,
    )  # fmt: skip
