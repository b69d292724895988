"""The planner against random homes and policies: it holds or refuses in words, and says the same each time."""

# ruff: noqa: PTH114 - paths are compared as text

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from oqto_plugin_sandbox.plan.compose import compose
from oqto_plugin_sandbox.plan.model import (
    Bind,
    Copy,
    Folder,
    Hide,
    Link,
    Plan,
    Request,
    Seal,
    Tmpfs,
    is_within,
)
from oqto_plugin_sandbox.plan.render import expected_mounts
from oqto_plugin_sandbox.policy.document import Place, parse
from oqto_plugin_sandbox.policy.merge import Layer, merge
from oqto_plugin_sandbox.policy.schema import to_policy

from oqto_platform.errors import ConfigError, Unconfined

NAMES = ("a", "b", ".config", "key.pem", "ws", ".env")
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join)
wishes = st.lists(
    paths.map(lambda path: f"~/{path}") | st.sampled_from(["~/**/*.pem", "~/a/*", "~/ws/b/**"]), max_size=4
)
policies = st.fixed_dictionaries({
    "home": st.sampled_from(["ro", "private", "rw"]),
    "deny_read": wishes,
    "deny_write": wishes,
    "allow_read": st.lists(paths.map(lambda path: f"~/{path}"), max_size=3),
    "allow_write": st.lists(paths.map(lambda path: f"~/{path}"), max_size=3),
    "extra_ro_bind": st.lists(paths.map(lambda path: f"~/{path}"), max_size=2),
    "readonly_workspace": st.booleans(),
})  # fmt: skip
entries = st.lists(
    st.tuples(paths, st.sampled_from(["file", "folder", "missing"]) | paths | st.just("/etc/passwd")),
    max_size=10,
)


def built(home: Path, wanted) -> None:
    """Files, folders and links, where nothing is in their way: a link to a file of the machine is one such thing."""
    (home / "ws").mkdir(parents=True)
    for name, kind in wanted:
        path = home / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "folder":
                path.mkdir()
            elif kind == "file":
                path.open("x").close()
            elif kind != "missing":
                path.symlink_to(kind if kind.startswith("/") else home / kind)
        except OSError:
            continue


def test_building_a_home_writes_through_no_link(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("theirs")
    built(tmp_path / "home", [("a", str(outside)), ("a", "file"), ("a/b", "file")])
    assert outside.read_text() == "theirs"


def seen(plan: Plan, path: str) -> str:
    """An oracle that knows only what mounts do: the last at or above the path shows it, or a part of the host."""
    shown = ""
    for op in plan.ops:
        if isinstance(op, (Seal, Link, Folder)) or not is_within(path, op.dest):
            continue
        shown = op.source + path.removeprefix(op.dest) if isinstance(op, (Bind, Copy)) else ""
    return shown if shown and os.path.lexists(shown) else ""


def writable(plan: Plan, path: str) -> bool:
    found = [op for op in plan.ops if isinstance(op, (Bind, Copy, Tmpfs, Hide)) and is_within(path, op.dest)]
    return bool(found) and isinstance(found[-1], Bind) and found[-1].writable


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(wanted=entries, stated=policies)
def test_any_home_and_policy_is_held_or_refused_in_words(wanted, stated):
    root = os.path.realpath(tempfile.mkdtemp(prefix="oqto-plan-", dir="/var/tmp"))
    try:
        home = Path(root) / "home"
        built(home, wanted)
        assume((home / "ws").is_dir() and not (home / "ws").is_symlink())
        text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in stated.items())
        check(str(home), text)
    finally:
        shutil.rmtree(root)


def check(home: str, text: str) -> None:
    place = Place(file="system", role="base", home=home)
    request = Request(workspace=f"{home}/ws", home=home, uid=os.getuid(), reserves=True)
    try:
        policy = to_policy(merge([Layer(file="system", statements=parse(text, place))], [], home))
        plan = compose(policy, request)
    except (Unconfined, ConfigError):
        return
    assert plan == compose(policy, request)
    assert [dest for dest, _ in expected_mounts(plan)] == sorted({dest for dest, _ in expected_mounts(plan)})
    for denied in (entry for entry in policy.deny_read if not set(entry) & set("*?[")):
        for path in {denied, os.path.realpath(denied), f"{os.path.realpath(denied)}/below"}:
            if not os.path.islink(path):
                assert seen(plan, path) == "", (path, plan.ops)
    for denied in (entry for entry in policy.deny_write if not set(entry) & set("*?[")):
        if os.path.lexists(denied) and not os.path.islink(denied):
            assert not writable(plan, denied), (denied, plan.ops)
    assert not writable(plan, f"{home}/ws/.oqto")
    assert (
        not any(isinstance(op, Bind) and op.writable and op.dest == home for op in plan.ops)
        or policy.home == "rw"
    )
