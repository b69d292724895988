"""The plan of a session, made anew only when something that it rests on has changed."""

from __future__ import annotations

from oqto_plugin_sandbox.plan.compose import compose
from oqto_plugin_sandbox.plan.looks import Memory
from oqto_plugin_sandbox.plan.model import Plan, Request
from oqto_plugin_sandbox.policy.model import Policy

_plans: Memory[tuple[Policy, Request], Plan] = Memory()


def planned(policy: Policy, request: Request) -> Plan:
    """What `compose` would say now. Raises `Unconfined` where the policy cannot hold on this machine."""
    return _plans.recall((policy, request), lambda looks: compose(policy, request, looks))
