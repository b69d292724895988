"""Limits by control groups of version 2: in a tree that only looks like one, and with the kernel's own rules."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from oqto_plugin_sandbox import delegation, limits
from oqto_plugin_sandbox.policy.model import Limits

UNIFIED = next(
    (
        path
        for path in map(Path, ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"))
        if (path / "cgroup.controllers").exists()
    ),
    None,
)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A unit with `Delegate=yes` as systemd makes it, and this process in it. Nothing but plain files."""
    root, unit = tmp_path / "cgroup", tmp_path / "cgroup/user.slice/oqto.service"
    unit.mkdir(parents=True)
    (root / "cgroup.controllers").write_text("cpu memory pids")
    (unit / "cgroup.controllers").write_text("cpu memory pids")
    (unit / "cgroup.subtree_control").write_text("")
    (unit / "cgroup.procs").write_text("")
    own = tmp_path / "own"
    own.write_text("0::/user.slice/oqto.service\n")
    monkeypatch.setattr(delegation, "ROOT", root)
    monkeypatch.setattr(delegation, "OWN", own)
    monkeypatch.setattr(delegation, "_is_delegated", lambda folder: folder == unit)
    return unit


def test_a_delegated_unit_hands_its_controllers_down(tree):
    assert limits.available() == {"memory": False, "pids": False}
    assert delegation.arrange()
    assert (tree / "cgroup.subtree_control").read_text() == "+memory +pids"
    (tree / "cgroup.subtree_control").write_text("memory pids")
    assert limits.available() == {"memory": True, "pids": True}
    assert delegation.arrange(), "a second start finds it done"
    assert (tree / "cgroup.subtree_control").read_text() == "memory pids"


@pytest.mark.parametrize(
    "own", ["0::/user.slice/oqto.service\n", f"0::/user.slice/oqto.service/{delegation.SELF}\n"]
)
def test_groups_are_made_beside_the_runner(tree, own):
    (tree / delegation.SELF).mkdir()
    delegation.OWN.write_text(own)
    (tree / "cgroup.subtree_control").write_text("memory pids")
    groups = limits.make_groups(Limits(memory_mb=64, pids=9), "ses_1")
    folder = tree / "oqto-sandbox-ses_1"
    assert (groups.folders, groups.missing) == ((str(folder),), ())
    assert groups.entries == (f"{folder}/cgroup.procs",)
    assert ((folder / "memory.max").read_text(), (folder / "pids.max").read_text()) == (str(64 << 20), "9")
    (folder / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    (folder / "pids.events").write_text("max 5\n")
    assert groups.met() == {"memory": 2, "pids": 5}
    assert limits.make_groups(Limits(memory_mb=64), "ses_1").causes == (
        (f"{folder}/memory.events", "memory limit 64 MiB"),
    )


def test_a_container_divides_what_it_sees_as_the_root_and_a_machine_does_not(tree):
    root = delegation.ROOT
    for name, content in (("cgroup.procs", ""), ("cgroup.subtree_control", "memory pids")):
        (root / name).write_text(content)
    delegation.OWN.write_text(f"0::/{delegation.SELF}\n")
    assert limits.available() == {"memory": False, "pids": False}, "the root of the machine"
    (root / "cgroup.events").write_text("populated 1\n")
    assert limits.available() == {"memory": True, "pids": True}


def test_a_process_that_systemd_put_into_a_part_of_the_unit_divides_the_unit(tree):
    (tree / "main").mkdir()
    (tree / "cgroup.subtree_control").write_text("memory pids")
    delegation.OWN.write_text("0::/user.slice/oqto.service/main\n")
    assert delegation.unified() == tree


def test_what_the_unit_does_not_have_is_held_by_rlimits(tree):
    (tree / "cgroup.controllers").write_text("cpu pids")
    assert not delegation.arrange()
    (tree / "cgroup.subtree_control").write_text("pids")
    assert limits.make_groups(Limits(memory_mb=64, pids=9), "x").missing == ("memory",)


def test_a_group_that_was_not_handed_over_is_left_alone(tree, monkeypatch):
    """The scope of a terminal belongs to the user as well, with the shell and everything in it."""
    monkeypatch.setattr(delegation, "_is_delegated", lambda folder: False)
    assert not delegation.arrange()
    assert not (tree / delegation.SELF).exists()
    assert limits.available() == {"memory": False, "pids": False}


def test_where_the_kernel_refuses_nothing_is_lost(tree):
    (tree / "cgroup.subtree_control").unlink()
    (tree / "cgroup.subtree_control").mkdir()
    assert not delegation.arrange()
    assert limits.available() == {"memory": False, "pids": False}


@pytest.mark.skipif(os.getuid() != 0 or UNIFIED is None, reason="needs root and control groups of version 2")
def test_the_kernels_own_rules():
    """A group with processes cannot hand controllers down; after `arrange` it can. Any controller shows that."""
    assert UNIFIED is not None
    controller = next(iter((UNIFIED / "cgroup.controllers").read_text().split()), "")
    unit = UNIFIED / f"oqto-test-{os.getpid()}"
    before = (UNIFIED / "cgroup.subtree_control").read_text().split()
    unit.mkdir()
    try:
        if controller not in before:
            (UNIFIED / "cgroup.subtree_control").write_text(f"+{controller}")
        with contextlib.suppress(OSError):
            os.setxattr(unit, delegation.MARK, b"1")
        code = f"""
import os, subprocess
from pathlib import Path
from oqto_plugin_sandbox import delegation
unit = Path({str(unit)!r})
(unit / "cgroup.procs").write_text("0")
sleeper = subprocess.Popen(["sleep", "60"])
delegation.ROOT = Path({str(UNIFIED)!r})
try: (unit / "cgroup.subtree_control").write_text("+{controller}"); print("no rule")
except OSError as exc: print(exc.errno)
print(delegation.arrange(({controller!r},)), delegation.hands_down(unit, {controller!r}))
print(sorted((unit / delegation.SELF / "cgroup.procs").read_text().split()) == sorted(map(str, (os.getpid(), sleeper.pid))))
print(delegation.unified() == unit, delegation.arrange(({controller!r},)))
child = unit / "child"; child.mkdir(); (child / "cgroup.procs").write_text(str(sleeper.pid))
print((child / "cgroup.controllers").read_text().split() == [{controller!r}])
sleeper.kill(); sleeper.wait(); child.rmdir()
"""
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.stdout.split("\n")[:-1] == ["16", "True True", "True", "True True", "True"], done.stderr
    finally:
        with contextlib.suppress(OSError):
            (unit / delegation.SELF).rmdir()
        unit.rmdir()
        if controller not in before:
            (UNIFIED / "cgroup.subtree_control").write_text(f"-{controller}")
