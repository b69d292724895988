"""Configuration at work, processes and privileges. Each attack has a twin: the harmless thing next to it still works."""

from __future__ import annotations

import os
import platform
import subprocess
import time

import pytest
from waiting import until

from oqto_platform.errors import Unconfined

pytestmark = pytest.mark.real


# -- C: configuration at work ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        "/".join(["deep" * 60] * 12),
        "quote\"s'",
        "-dash",
        "colon:x",
        "ünï",
        "back\\slash",
        "a" * 200,
    ],
)
def test_c15_workspaces_with_difficult_names(box, name):
    box.workspace = box.home / name
    box.write(box.workspace / "file", "content")
    assert box.sh("cat file; echo new > made; mkdir .oqto && echo MADE").out == "content"
    assert (box.workspace / "made").read_text() == "new\n"


def test_c15_a_line_break_in_the_name_is_refused(box):
    from oqto_platform.errors import Invalid

    box.workspace = box.home / "a\nb"
    box.write(box.workspace / "file")
    with pytest.raises(Invalid, match="line break"):
        box.sh("echo RAN")


def test_c17_too_many_denials_are_refused_before_bubblewrap_counts(box):
    for number in range(1100):
        (box.workspace / f"f{number}").write_text("")
    with pytest.raises(Unconfined, match="limit"):
        box.sh("echo RAN", restrict='deny_read = ["f*"]')


def test_c20_no_variable_weakens_anything(box):
    switches = {
        "OQTO_SANDBOX_SHIM_MODE": "1",
        "OQTO_NO_SANDBOX": "1",
        "OQTO_SANDBOX_PROFILE": "minimal",
        "LD_PRELOAD": "/x.so",
        "BASH_ENV": "/tmp/x",
        "KEEP": "1",
    }
    done = box.sh("env | grep -E 'SANDBOX|PRELOAD|BASH_ENV'; cat ~/.ssh/id_rsa; echo $KEEP", env=switches)
    assert done.out == "1\n"


def test_the_home_as_workspace_is_refused(box):
    box.workspace = box.home
    with pytest.raises(Unconfined, match="home directory itself"):
        box.sh("echo RAN")


# -- D: processes and privileges ---------------------------------------------------------------------


def test_d01_d02_only_its_own_processes(box):
    done = box.sh(
        f"ls /proc | grep -c '^[0-9]'; kill -STOP {os.getpid()}; kill -9 {os.getpid()}; sleep 99 & kill $! && echo twin"
    )
    count, twin = done.out.split()
    assert int(count) < 10
    assert twin == "twin"


def test_d01_killing_all_kills_only_its_own(box):
    with subprocess.Popen(["/bin/sleep", "60"], **box.who) as neighbour:
        assert box.sh("kill -9 -1; echo on").out in ("on\n", ""), "a shell may be among its own"
        assert neighbour.poll() is None
        neighbour.kill()
    assert box.sh("sleep 99 & kill -9 $! && echo twin").out == "twin\n"


def test_d04_d05_nothing_outlives_the_session(box, running):
    marker = f"99{os.getpid()}{time.monotonic_ns() % 10_000}"
    assert box.sh(f"setsid sleep {marker} & (sleep {marker} &); disown; echo twin").out == "twin\n"
    assert not running(marker)
    process = box.start("/bin/bash", "-c", f"echo ready; setsid sleep {marker} & sleep {marker}")
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    process.communicate(timeout=10)
    until(lambda: not running(marker))


def test_d07_d08_no_namespaces_of_its_own(box):
    done = box.sh(
        "unshare -U true && echo IN; unshare -Urm true && echo IN; bwrap --ro-bind / / true && echo IN; echo twin"
    )
    assert done.out == "twin\n"
    script = "import ctypes; l = ctypes.CDLL(None, use_errno=True)\nfor call in ((272, 0x10000000), (56, 0x10000011, 0, 0, 0, 0), (435, 0, 0)): print(l.syscall(*call), ctypes.get_errno())"
    assert box.python(script).out == "-1 1\n-1 1\n-1 38\n"


def test_d10_no_capabilities_and_no_new_ones(box):
    done = box.sh(
        "grep -E '^(Cap(Eff|Prm|Bnd|Inh|Amb)|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\\t\\n' ' '; id -u"
    )
    assert done.out.count("0000000000000000") == 5
    assert "NoNewPrivs: 1 Seccomp: 2" in done.out
    assert not done.out.endswith(" 0\n")


def test_d11_setuid_programs_give_nothing(box):
    assert (
        box.sh(
            "su -c id </dev/null; sudo -n id; newgrp </dev/null; pkexec id; ping -c1 -W1 127.0.0.1 >/dev/null; mount -t tmpfs x /mnt; umount .oqto; umount ~/.ssh; id -un > /dev/null; echo twin"
        ).out
        == "twin\n"
    )


def test_d13_d14_the_init_process_is_out_of_reach(box):
    script = "import ctypes; l = ctypes.CDLL(None, use_errno=True)\nfor n in (101, 310, 311, 312, 438): print(l.syscall(n, 16, 1, 0, 0), ctypes.get_errno())\ntry: open('/proc/1/mem', 'r+b'); print('OPEN')\nexcept OSError: print('twin')"
    assert box.python(script).out == "-1 1\n" * 5 + "twin\n"
    assert box.sh("kill -STOP 1; kill -9 1; echo twin").out == "twin\n"
    held = box.sh("kill -STOP 1; echo twin; exec sleep 60", policy="[limits]\nwall_seconds = 1")
    assert (held.out, held.code) == ("twin\n", 143), "its time is over all the same"


def test_d16_only_three_descriptors(box):
    assert (
        box.sh(
            "ls /proc/self/fd | wc -l; python3 -c \"import os; print(sorted(f for f in range(3, 200) if os.path.exists(f'/proc/self/fd/{f}'))[1:])\""
        ).out
        == "4\n[]\n"
    )
    script = "import os, stat\nfor fd in (0, 1, 2): print(stat.S_ISSOCK(os.fstat(fd).st_mode), os.fstat(fd).st_nlink)"
    assert box.python(script).out == "False 1\n" * 3


@pytest.mark.parametrize(
    ("number", "arguments"), [(16, "0, 0x5412, b'x'"), (16, "0, 0x100005412, b'x'"), (16, "0, 0x541C, b'x'")]
)
def test_d22_d23_typing_into_the_terminal(box, number, arguments):
    script = f"import ctypes; l = ctypes.CDLL(None, use_errno=True); l.syscall.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_ulong, ctypes.c_char_p]; print(l.syscall({number}, {arguments}), ctypes.get_errno())"
    assert box.python(script).out == "-1 1\n"
    twin = "import fcntl, os, termios\nprint(fcntl.ioctl(os.openpty()[0], termios.TIOCGWINSZ, bytes(8)) == bytes(8))"
    assert box.python(twin).out == "True\n"


def test_d28_limits_cannot_be_raised(box):
    done = box.sh(
        "ulimit -Hn; ulimit -n 999999; ulimit -f unlimited; ulimit -c unlimited; ulimit -Hc; echo twin",
        policy="[limits]\nopen_files = 512",
    )
    assert done.out == "512\n0\ntwin\n"


def test_d29_the_wall_clock_ends_a_session_and_says_so(box):
    done = box.sh("echo start; exec sleep 60", policy="[limits]\nwall_seconds = 1")
    assert done.out == "start\n"
    assert done.code == 143
    assert "wall clock limit 1 s" in done.err


def test_d31_d32_other_ways_into_the_kernel(box):
    script = "import ctypes; l = ctypes.CDLL(None, use_errno=True)\nfor n in (425, 426, 427, 0x40000000 + 39, 468, 500): print(l.syscall(n, 1, 0), ctypes.get_errno())\nprint(l.syscall(39) > 0)"
    assert box.python(script).out == "-1 38\n" * 6 + "True\n"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other machines have no 32-bit entry of this kind")
def test_d31_the_32_bit_entry_leads_nowhere(box):
    """`int 0x80` with the number of getpid: outside it answers, inside it is a call that does not exist."""
    script = (
        "import ctypes, mmap\n"
        "code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
        "code.write(bytes.fromhex('b814000000cd80c3'))\n"
        "print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))())\n"
    )
    outside = subprocess.run(["/usr/bin/python3", "-c", script], capture_output=True, text=True, check=True)
    assert int(outside.stdout) > 1, "this kernel has the entry"
    assert box.python(script).out == "-38\n"


def test_d19_the_programs_that_confine_cannot_be_overwritten(box):
    script = (
        "for f in /proc/1/exe /proc/self/exe /usr/bin/bwrap /usr/bin/python3; do (echo x > $f) 2>/dev/null && echo WRITTEN; done;"
        "for d in /proc/1/fd/*; do (echo x > $d) 2>/dev/null && echo DESCRIPTOR; done; cp /bin/true t && ./t && echo twin"
    )
    assert box.sh(script).out == "twin\n"


def test_d34_d35_debuggers_and_sandboxes_of_its_own_fail_in_words(box):
    script = "import ctypes, os; l = ctypes.CDLL(None, use_errno=True)\nprint(l.ptrace(0, 0, 0, 0), os.strerror(ctypes.get_errno()))"
    assert box.python(script).out == "-1 Operation not permitted\n"
    done = box.sh("bwrap --ro-bind / / --unshare-pid true; echo twin; ps -e > /dev/null && echo twin")
    assert done.out.startswith("twin\n")
    assert "bwrap:" in done.err or "not found" in done.err


def test_the_environment_cannot_smuggle_options_for_the_launcher(box):
    from oqto_platform.errors import Invalid

    with pytest.raises(Invalid, match="cannot be passed on"):
        box.sh("echo RAN", env={"A": "x\0--bind\0/\0/"})
    assert box.sh("echo $A", env={"A": "--bind / /"}).out == "--bind / /\n"


def test_landlock_lets_write_where_the_plan_does_and_nowhere_else(box):
    from oqto_plugin_sandbox import host

    if not host.landlock_version():
        pytest.skip("this kernel has no Landlock")
    box.write(box.home / "notes.txt", "before")
    policy = 'landlock_mode = "enforce"\nextra_rw_bind = ["~/notes.txt"]'
    script = (
        "echo after > ~/notes.txt; echo x > made; mkdir d; mv made d; echo x > /tmp/f; echo x > /dev/null; rm ~/notes.txt;"
        "echo x > ~/documents/letter; echo x > ~/.npm/f; cat ~/notes.txt d/made /tmp/f ~/documents/letter"
    )
    done = box.sh(script, policy=policy)
    assert done.out == "after\nx\nx\nletter", done.err
    assert (box.home / "notes.txt").read_text() == "after\n"


def test_landlock_alone_holds_where_a_mount_would_not(box_outside_tmp, monkeypatch):
    """The plan's bind is made writable behind its back; the rules of the agent still say no."""
    from msgspec.structs import replace
    from oqto_plugin_sandbox import host, landlock
    from oqto_plugin_sandbox.plan.model import Bind

    box = box_outside_tmp
    if not host.landlock_version():
        pytest.skip("this kernel has no Landlock")
    box.sh("true")  # makes the folders that the plan expects
    cage = box.cage(
        "/bin/bash",
        "-c",
        "echo x > ~/documents/letter; touch ~/documents/new; touch twin; ls twin",
        policy='landlock_mode = "enforce"',
    )
    documents = str(box.home / "documents")
    ops = tuple(
        replace(op, writable=True) if isinstance(op, Bind) and op.dest == documents else op
        for op in cage.plan.ops
    )
    rules = landlock.statements(cage.policy, cage.plan)
    monkeypatch.setattr(landlock, "statements", lambda *_: rules)
    assert box.run(cage=replace(cage, plan=replace(cage.plan, ops=ops))).out == "twin\n"
    assert (box.home / "documents/letter").read_text() == "letter"
    assert not (box.home / "documents/new").exists()
