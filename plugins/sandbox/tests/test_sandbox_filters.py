"""
The system-call filters of both architectures, run by an interpreter that knows nothing of the assembler.

What should come out is written down here once more, by names; their numbers are those of the kernel's own headers.
"""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oqto_plugin_sandbox.seccomp import filters
from oqto_plugin_sandbox.seccomp.tables import ARCHITECTURES, FIRST_UNKNOWN

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
FOREIGN = (0x40000003, 0x40000028, 0xC00000F3, 0)
"""i386, 32-bit ARM, RISC-V, nonsense."""

ALLOWED = 0x7FFF0000
LOGGED = 0x7FFC0000
FAILS = 0x00050000


def words(text: str) -> list[str]:
    return text.split()


EPERM = words("""
ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd mount umount2 pivot_root chroot setns unshare bpf perf_event_open
userfaultfd keyctl add_key request_key kexec_load kexec_file_load init_module finit_module delete_module reboot swapon swapoff
acct quotactl quotactl_fd syslog iopl ioperm modify_ldt uselib settimeofday adjtimex clock_settime clock_adjtime sethostname
setdomainname vhangup fanotify_init name_to_handle_at open_by_handle_at move_pages migrate_pages lookup_dcookie nfsservctl
""")
ENOSYS = words("""
io_uring_setup io_uring_enter io_uring_register clone3 openat2 open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr
statmount listmount
""")
NEEDED = words("""
read write openat close mmap mprotect munmap brk futex execve exit_group wait4 kill getpid dup3 pipe2 epoll_pwait clock_gettime
getrandom memfd_create statx newfstatat fstat lseek fsync renameat2 unlinkat mkdirat linkat symlinkat fchmodat ftruncate prlimit64
sched_yield setsid getrusage times sendto recvfrom connect bind listen accept4 shutdown seccomp prctl rseq close_range
""")
RENAMED = {"newfstatat": "fstatat"}
CLONE_NEW = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x80)
SOCKET_FAMILIES = {1: ALLOWED, 2: ALLOWED, 10: ALLOWED, 16: ALLOWED}


def numbers(machine: str) -> dict[str, int]:
    """Name to number as the kernel's headers have them. The generic ones mark calls that differ by word size."""
    if not HEADERS[machine].exists():
        pytest.skip("the headers of the kernel are not installed (linux-libc-dev)")
    found = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[machine].read_text(), re.MULTILINE)
    return {name: int(number) for name, number in found}


def run(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """Classic BPF over `struct seccomp_data`, as the kernel's documentation describes it."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=iIQ6Q", number if number < 2**31 else number - 2**32, arch, 0, *padded)
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator, at = 0, 0
    for _ in range(len(code)):
        op, if_true, if_false, value = code[at]
        at += 1
        if op == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif op == 0x54:
            accumulator &= value
        elif op == 0x06:
            return value
        else:
            is_so = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[
                op
            ]
            at += if_true if is_so else if_false
    raise AssertionError("the program does not end")


def error(number: int) -> int:
    return FAILS | number


@pytest.fixture(params=sorted(AUDIT))
def machine(request):
    return request.param


def test_the_tables_say_what_the_headers_say(machine):
    known = numbers(machine)
    ours = ARCHITECTURES[machine].numbers
    differing = {
        name: (number, known[name]) for name, number in ours.items() if known.get(name, number) != number
    }
    assert differing == {}
    assert len(set(ours) & set(known)) > 55, "the comparison means something"
    assert ARCHITECTURES[machine].audit == AUDIT[machine]
    absent = {name for name in (*EPERM, *ENOSYS) if name in known and name not in ours}
    assert absent == set()


def test_each_named_call_gets_its_answer(machine):
    known, program = numbers(machine), filters.base_filter(machine)
    answers = {name: run(program, AUDIT[machine], known[name]) for name in (*EPERM, *ENOSYS) if name in known}
    assert {name for name in EPERM if name in known and answers[name] != error(errno.EPERM)} == set()
    assert {name for name in ENOSYS if name in known and answers[name] != error(errno.ENOSYS)} == set()


def test_what_programs_need_passes(machine):
    known, program = numbers(machine), filters.base_filter(machine)
    needed = {
        name: known[name]
        for name in (RENAMED.get(name, name) if name not in known else name for name in NEEDED)
        if name in known
    }
    assert len(needed) > 45
    assert {
        name for name, number in needed.items() if run(program, AUDIT[machine], number) != ALLOWED
    } == set()


@pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32])
def test_arguments_count_by_their_low_word(machine, high):
    known, program = numbers(machine), filters.base_filter(machine)
    audit = AUDIT[machine]
    for flag in CLONE_NEW:
        assert run(program, audit, known["clone"], high | flag | 17) == error(errno.EPERM)
    assert run(program, audit, known["clone"], high | 0x3D0F00) == ALLOWED, "a thread"
    for request in (0x5412, 0x541C):
        assert run(program, audit, known["ioctl"], 0, high | request) == error(errno.EPERM)
    assert run(program, audit, known["ioctl"], 0, high | 0x5413) == ALLOWED
    for family in range(46):
        expected = SOCKET_FAMILIES.get(family, error(errno.EAFNOSUPPORT))
        assert run(program, audit, known["socket"], high | family, 1) == expected, family


def test_foreign_entries_and_young_calls_do_not_exist(machine):
    program = filters.base_filter(machine)
    for arch in (*FOREIGN, *(audit for name, audit in AUDIT.items() if name != machine)):
        assert run(program, arch, 1) == error(errno.ENOSYS)
    for number in (FIRST_UNKNOWN, FIRST_UNKNOWN + 1, 0x40000000, 0x40000001, 0xFFFFFFFF):
        assert run(program, AUDIT[machine], number) == error(errno.ENOSYS)


def test_without_unix_sockets_only_pairs_of_streams_remain(machine):
    known, program = numbers(machine), filters.agent_filter(machine, no_unix=True)
    audit = AUDIT[machine]
    for high in (0, 1 << 32):
        assert run(program, audit, known["socket"], high | 1, 1) == error(errno.EAFNOSUPPORT)
        assert run(program, audit, known["socket"], high | 2, 1) == ALLOWED
        assert run(program, audit, known["socketpair"], 1, high | 2) == error(errno.EPERM)
        assert run(program, audit, known["socketpair"], 1, high | 2 | 0x80000) == error(errno.EPERM), (
            "with SOCK_CLOEXEC"
        )
        assert run(program, audit, known["socketpair"], 1, high | 1) == ALLOWED


@pytest.mark.parametrize("high", [0, 1 << 32])
def test_no_file_runs_as_its_owner(machine, high):
    known, program = numbers(machine), filters.base_filter(machine)

    def answer(name, *arguments):
        return run(program, AUDIT[machine], known[name], *arguments) if name in known else None

    for bits, expected in (
        (0o4755, error(errno.EPERM)),
        (0o6777, error(errno.EPERM)),
        (0o2775, ALLOWED),
        (0o755, ALLOWED),
    ):
        mode = high | bits
        makes, only_opens, unnamed = 0o101, 0o2, 0o20200002
        answers = [
            answer("chmod", 0, mode), answer("fchmod", 3, mode), answer("fchmodat", 3, 0, mode), answer("fchmodat2", 3, 0, mode),
            answer("mknod", 0, mode), answer("mknodat", 3, 0, mode), answer("creat", 0, mode), answer("open", 0, makes, mode),
            answer("openat", 3, 0, makes, mode), answer("openat", 3, 0, high | unnamed, mode),
        ]  # fmt: skip
        assert {one for one in answers if one is not None} == {expected}, oct(bits)
        assert answer("openat", 3, 0, only_opens, mode) == ALLOWED, "what is no mode does not count"


@pytest.mark.parametrize("no_unix", [True, False])
def test_the_limit_of_core_dumps_stays_and_the_others_can_be_lowered(machine, no_unix):
    known, program = numbers(machine), filters.agent_filter(machine, no_unix=no_unix)
    audit, somewhere, files = AUDIT[machine], 0x7F00_0000_1000, 7
    for high in (0, 1 << 32):
        assert run(program, audit, known["setrlimit"], high | 4, somewhere) == FAILS, "as if it had been done"
        assert run(program, audit, known["prlimit64"], 0, high | 4, somewhere) == FAILS
        assert run(program, audit, known["prlimit64"], 0, high | 4, 0x7F << 32) == FAILS
        assert run(program, audit, known["prlimit64"], 0, high | 4, 0, somewhere) == ALLOWED, "asking"
        assert run(program, audit, known["prlimit64"], 0, high | files, somewhere) == ALLOWED
        assert run(program, audit, known["setrlimit"], high | files, somewhere) == ALLOWED


def test_the_audit_mode_logs_what_would_be_refused(machine):
    known = numbers(machine)
    assert run(filters.base_filter(machine, audit=True), AUDIT[machine], known["socket"], 40) == LOGGED
    assert (
        run(filters.agent_filter(machine, no_unix=True, audit=True), AUDIT[machine], known["socket"], 1)
        == LOGGED
    )
    assert run(filters.base_filter(machine, audit=True), AUDIT[machine], known["mount"]) == LOGGED


def test_debuggers_work_where_the_base_file_says_so(machine):
    known = numbers(machine)
    assert run(filters.base_filter(machine, allow_ptrace=True), AUDIT[machine], known["ptrace"]) == ALLOWED
    assert run(filters.base_filter(machine, allow_ptrace=True), AUDIT[machine], known["kcmp"]) == error(
        errno.EPERM
    )


@given(
    st.sampled_from(sorted(AUDIT)),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6),
)
def test_every_program_ends_with_one_of_its_answers(machine, arch, number, arguments):
    known = {ALLOWED, *(error(number) for number in (0, errno.EPERM, errno.ENOSYS, errno.EAFNOSUPPORT))}
    for program in (
        filters.base_filter(machine),
        *(filters.agent_filter(machine, no_unix=u) for u in (True, False)),
    ):
        assert run(program, arch, number, *arguments) in known
        assert run(program, AUDIT[machine], number % 500, *arguments) in known
