"""What the plan says about a path, against what an agent finds there under real bubblewrap."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oqto_plugin_sandbox.plan.simulate import show

pytestmark = pytest.mark.real

PLACES = (
    "a",
    "a/b",
    "a/b/c",
    "a/d",
    "e",
    "projects/ws",
    "projects/ws/s",
    "projects/ws/s/t",
    "projects/ws/.git/hooks",
)
LOOK = """
import errno, json, os, sys
def look(path):
    if not os.path.lexists(path): return 'absent'
    try:
        os.listdir(path) if os.path.isdir(path) else open(path).close()
    except PermissionError: return 'hidden'
    try:
        if os.path.isdir(path):
            os.mkdir(path + '/new'); os.rmdir(path + '/new')
        else: os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
    except OSError: return 'ro'
    return 'rw'
print(json.dumps([look(path) for path in sys.argv[1:]]))
"""
some_places = st.lists(st.sampled_from(PLACES), max_size=3, unique=True)
policies = st.fixed_dictionaries({
    "home": st.sampled_from(["ro", "private", "rw"]),
    "deny_read": some_places,
    "deny_write": some_places,
    "allow_write": some_places,
    "allow_read": some_places,
})  # fmt: skip


def text(policy):
    lines = [f'home = "{policy["home"]}"']
    keys = ("deny_read", "deny_write", "allow_write", "allow_read")
    lines += [f"{key} = {json.dumps([f'~/{place}' for place in policy[key]])}" for key in keys]
    return "\n".join(lines)


@settings(
    max_examples=8,
    deadline=None,
    database=None,  # its folder belongs to whoever runs the tests
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(policy=policies)
def test_the_simulator_and_bubblewrap_agree(box, policy):
    policy["deny_read"] = [
        place
        for place in policy["deny_read"]
        if not place.startswith("projects/ws") or place.endswith(("s/t", "/s"))
    ]
    for key in ("deny_read", "deny_write"):  # a denied workspace does not start, which is another test
        policy[key] = [place for place in policy[key] if place != "projects/ws"]
    paths = []
    for place in PLACES:
        folder = box.home / place
        box.write(folder / "file", "content")
        paths += [str(folder), str(folder / "file")]
    cage = box.cage("/usr/bin/python3", "-c", LOOK, *paths, policy=text(policy))
    expected = {path: show(cage.plan, path).state for path in paths}
    done = box.run(cage=cage)
    found = dict(zip(paths, json.loads(done.out), strict=True))
    assert {path: allowed(found[path], expected[path]) for path in paths} == dict.fromkeys(paths, True), (
        found,
        expected,
    )


def allowed(found, expected):
    """Below a hidden folder nothing is found at all; a folder that only leads somewhere may be unlisted."""
    if expected == "hidden":
        return found in ("hidden", "absent")
    return found == expected
