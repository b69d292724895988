"""Who makes the mounts: the first process inside, or bubblewrap on an older kernel. Both make the same sandbox."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from msgspec.structs import replace
from oqto_plugin_sandbox import launch, mounting
from oqto_plugin_sandbox.plan.model import Bind
from oqto_plugin_sandbox.seccomp import assembler as bpf

pytestmark = pytest.mark.real

MOUNT_SETATTR = 442
"""The youngest call that is needed, since Linux 5.12; the same number on every processor."""

OLDER_KERNEL = """
import ctypes, sys
from oqto_plugin_sandbox.__main__ import main
filter = bytes.fromhex(sys.argv.pop(1))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]
library = ctypes.CDLL(None, use_errno=True)
assert library.prctl(38, 1, 0, 0, 0) == 0
assert library.prctl(22, 2, ctypes.byref(Program(len(filter) // 8, filter)), 0, 0) == 0
main()
"""


@pytest.fixture
def by_bubblewrap(monkeypatch):
    monkeypatch.setattr(mounting, "obstacle", lambda: "the kernel is older than Linux 5.12")


def without_new_calls() -> str:
    program = bpf.Program()
    program.load(bpf.OFFSET_NUMBER)
    program.jump(bpf.JUMP_EQUAL, MOUNT_SETATTR, "", "there")
    program.answer(bpf.errno_action(38))
    program.label("there")
    program.answer(bpf.ALLOW)
    return program.assemble().hex()


def on_an_older_kernel(*words, cwd):
    argv = [sys.executable, "-c", OLDER_KERNEL, without_new_calls(), *words]
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def mounts(box) -> dict[str, str]:
    """Each place with the access on top. What the kernel's folders consist of is bubblewrap's own affair."""
    lines = [line.split() for line in box.sh("cat /proc/self/mountinfo").out.splitlines()]
    found = {fields[4]: fields[5].split(",")[0] for fields in lines}
    return {path: access for path, access in found.items() if not path.startswith(("/dev/", "/proc/"))}


def refused(box, cage) -> str:
    done = box.finish(box.start(cage=cage))
    assert (done.code, done.out) == (125, "")
    return done.err


def test_here_the_first_process_makes_them(can_confine):
    """Where it cannot, everything else in this folder tries the other way."""
    assert mounting.obstacle() == ""


def test_an_older_kernel_is_served_by_bubblewrap(own_home):
    done = on_an_older_kernel("run", "--", "/bin/sh", "-c", "echo ran; touch .oqto/x", cwd=own_home)
    assert (done.returncode, done.stdout) == (1, "ran\n"), done.stderr
    assert "Read-only file system" in done.stderr
    told = on_an_older_kernel("check", cwd=own_home).stdout
    assert "bubblewrap makes the mounts, which takes longer" in told
    assert "Function not implemented" in told


def test_both_make_the_same_mounts(box, monkeypatch):
    box.repository({"f": "1"})
    box.write(box.workspace / ".env", "x")
    box.sh("true")  # makes the caches that a plan shows
    ours = mounts(box)
    monkeypatch.setattr(mounting, "obstacle", lambda: "tried for comparison")
    assert ours == mounts(box)
    assert ours["/"] == "ro"
    assert ours[str(box.workspace)] == "rw"


@pytest.mark.parametrize("way", ["first process", "bubblewrap"])
def test_what_is_denied_stays_denied_either_way(box, way, request):
    if way == "bubblewrap":
        request.getfixturevalue("by_bubblewrap")
    done = box.sh(
        "cat ~/.ssh/id_rsa ~/.netrc ~/.config/oqto/env /etc/shadow; ls /etc/ssl/private; echo x > .oqto/x; echo x > ~/x;"
        "echo x > /x; mkdir /dev/x; mount -t tmpfs x /mnt; unshare -Ur true && echo IN; umount ~; echo x > new; cat file"
    )
    assert done.out == "content"
    assert "CANARY" not in done.err
    assert (box.workspace / "new").exists()
    assert not (box.workspace / ".oqto/x").exists()


@pytest.mark.parametrize("way", ["first process", "bubblewrap"])
def test_without_a_filter_the_kernel_itself_keeps_the_mounts(box, way, request):
    """The rights that made them are gone, and no namespace gives new ones."""
    if way == "bubblewrap":
        request.getfixturevalue("by_bubblewrap")
    script = """
import ctypes, errno
l = ctypes.CDLL(None, use_errno=True)
def said(done): return "done" if done >= 0 else errno.errorcode[ctypes.get_errno()]
print(said(l.umount2(b"/tmp", 2)), said(l.mount(b"/etc", b"/tmp", None, 4096, None)), said(l.syscall(428, -100, b"/etc", 1)))
print(said(l.unshare(0x10000000)), said(l.unshare(0x20000)), said(l.chroot(b"/tmp")))
"""
    done = box.python(script, policy='seccomp_mode = "off"')
    assert done.out == "EPERM EPERM EPERM\nENOSPC EPERM EPERM\n", done.err


def test_a_folder_that_is_replaced_after_the_plan_is_not_shown(box):
    target = box.home / "documents"
    confined = box.confined("/bin/echo", "RAN")
    shutil.rmtree(target)
    box.write(box.home / "documents/letter", "another")
    done = box.finish(box.spawn(confined))
    assert (done.code, done.out) == (125, "")
    assert f"{target} was replaced meanwhile" in done.err


def test_nothing_is_made_on_the_host_for_a_mount(box):
    cage = box.cage("/bin/echo", "RAN")
    planted = Bind(dest=f"{box.workspace}/gone/file", source=str(box.workspace / "file"))
    broken = replace(cage, plan=replace(cage.plan, ops=(*cage.plan.ops[:-1], planted)))
    assert "gone is not there any more" in refused(box, broken)
    assert not (box.workspace / "gone").exists()


@pytest.mark.parametrize("way", ["first process", "bubblewrap"])
def test_a_mount_that_nobody_planned_stops_the_start(box, way, request, monkeypatch):
    if way == "bubblewrap":
        request.getfixturevalue("by_bubblewrap")
    planned = launch.expected_mounts
    monkeypatch.setattr(
        launch, "expected_mounts", lambda plan: [one for one in planned(plan) if one[0] != "/tmp"]
    )
    assert "self-check: /tmp is mounted and nobody planned it" in refused(box, box.cage("/bin/echo", "RAN"))


def test_what_bubblewrap_mounts_elsewhere_is_found_by_the_self_check(box, by_bubblewrap):
    (box.workspace / "real").mkdir()
    box.write(box.workspace / "real/file")
    (box.workspace / "link").symlink_to("real")
    cage = box.cage("/bin/echo", "RAN")
    planted = Bind(dest=f"{box.workspace}/link/file", source=str(box.workspace / "file"))
    broken = replace(cage, plan=replace(cage.plan, ops=(*cage.plan.ops, planted)))
    assert "self-check: nothing is mounted at" in refused(box, broken)


def test_a_program_finds_the_terminal_of_its_output(box):
    outer, inner = os.openpty()
    confined = box.confined("/usr/bin/tty")
    subprocess.run(
        confined.argv,
        env={},
        cwd="/",
        pass_fds=confined.fds,
        stdin=inner,
        stdout=inner,
        check=True,
        **box.who,
    )
    assert os.read(outer, 100).strip() == b"/dev/console"
    for fd in (outer, inner, *confined.fds):
        os.close(fd)
