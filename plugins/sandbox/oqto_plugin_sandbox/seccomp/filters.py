"""
The rules: which system calls an agent may not make, and what it gets instead.

Two programs: `base_filter` is loaded by bubblewrap and covers everything inside; `agent_filter` is stacked
on the agent alone, after the init process has opened the sockets it forwards to and set the limits.
"""

from __future__ import annotations

import errno
from functools import cache
from typing import TYPE_CHECKING

from oqto_plugin_sandbox.seccomp import assembler as bpf
from oqto_plugin_sandbox.seccomp.tables import ARCHITECTURES, FIRST_UNKNOWN

if TYPE_CHECKING:
    from oqto_plugin_sandbox.seccomp.tables import Architecture

FORBIDDEN = [
    "process_vm_readv",
    "process_vm_writev",
    "kcmp",
    "pidfd_getfd",
    "process_madvise",
    "process_mrelease",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "setns",
    "unshare",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "keyctl",
    "add_key",
    "request_key",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "quotactl",
    "quotactl_fd",
    "syslog",
    "iopl",
    "ioperm",
    "modify_ldt",
    "uselib",
    "settimeofday",
    "adjtimex",
    "clock_settime",
    "clock_adjtime",
    "sethostname",
    "setdomainname",
    "vhangup",
    "fanotify_init",
    "fanotify_mark",
    "name_to_handle_at",
    "open_by_handle_at",
    "move_pages",
    "migrate_pages",
    "lookup_dcookie",
    "nfsservctl",
    "_sysctl",
]
# Answered as if the kernel were older: libraries then take the path that the filter can inspect.
UNAVAILABLE = [
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "clone3",
    "openat2",
    "open_tree",
    "open_tree_attr",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "statmount",
    "listmount",
    "lsm_set_self_attr",
    "set_mempolicy_home_node",
    "map_shadow_stack",
]

CLONE_NEW_ANY = 0x7E020000 | 0x80  # NEWNS CGROUP UTS IPC USER PID NET, and NEWTIME
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
SOCK_TYPE_MASK, SOCK_DGRAM = 0xF, 2
RLIMIT_CORE = 4
SET_USER_ID = 0o4000
O_CREAT_OR_TMPFILE = 0o100 | 0o20000000
MODES = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "mknod": 1, "mknodat": 2, "creat": 1}
"""Calls that give a file its mode, and which argument that is."""

OPENING = {"open": 1, "openat": 2}
"""Calls that make a file only with a flag, and which argument has the flags; the mode comes after them."""


@cache
def base_filter(machine: str, *, audit: bool = False, allow_ptrace: bool = False) -> bytes:
    """What no process of the sandbox may do. `audit` logs in the kernel log and lets the call pass."""
    arch, program = ARCHITECTURES[machine], bpf.Program()
    _native_only(program, arch)
    _arguments(program, arch)
    _refuse(program, arch, FORBIDDEN if allow_ptrace else ["ptrace", *FORBIDDEN], "eperm")
    _refuse(program, arch, UNAVAILABLE, "enosys")
    _answers(program, audit=audit)
    return program.assemble()


@cache
def agent_filter(machine: str, *, no_unix: bool, audit: bool = False) -> bytes:
    """
    What the agent may not do, though the init process had to: take the limit of core dumps back and, with
    `no_unix`, make Unix sockets.
    """
    arch, program = ARCHITECTURES[machine], bpf.Program()
    _native_only(program, arch)
    _keep_core_limit(program, arch)
    if no_unix:
        _no_unix(program, arch)
    _answers(program, audit=audit)
    return program.assemble()


def _keep_core_limit(program: bpf.Program, arch: Architecture) -> None:
    """It is 1, not 0: only that keeps a core handler of the host from being run. Who wants 0 hears that it is so."""
    program.jump(bpf.JUMP_EQUAL, arch.numbers["setrlimit"], "", "not_setrlimit")
    program.load(bpf.low_word(0))
    program.jump(bpf.JUMP_EQUAL, RLIMIT_CORE, "as_if", "allow")
    program.label("not_setrlimit")
    program.jump(bpf.JUMP_EQUAL, arch.numbers["prlimit64"], "", "not_prlimit")
    program.load(bpf.low_word(1))
    program.jump(bpf.JUMP_EQUAL, RLIMIT_CORE, "", "allow")
    for offset in (bpf.low_word(2), bpf.high_word(2)):  # without a new limit it only asks
        program.load(offset)
        program.jump(bpf.JUMP_EQUAL, 0, "", "as_if")
    program.jump(bpf.JUMP_EQUAL, 0, "allow")
    program.label("not_prlimit")


def _no_unix(program: bpf.Program, arch: Architecture) -> None:
    """New Unix sockets, and datagram pairs: one end of such a pair can still address a path."""
    program.jump(bpf.JUMP_EQUAL, arch.numbers["socket"], "socket")
    program.jump(bpf.JUMP_EQUAL, arch.numbers["socketpair"], "socketpair", "allow")
    program.label("socket")
    program.load(bpf.low_word(0))
    program.jump(bpf.JUMP_EQUAL, AF_UNIX, "eafnosupport", "allow")
    program.label("socketpair")
    program.load(bpf.low_word(1))
    program.mask(SOCK_TYPE_MASK)
    program.jump(bpf.JUMP_EQUAL, SOCK_DGRAM, "eperm", "allow")


def _native_only(program: bpf.Program, arch: Architecture) -> None:
    """32-bit and x32 entries would bypass the table; unknown calls are younger than the rules."""
    program.load(bpf.OFFSET_ARCHITECTURE)
    program.jump(bpf.JUMP_EQUAL, arch.audit, "native", "foreign")
    program.label("foreign")
    program.answer(bpf.errno_action(errno.ENOSYS))
    program.label("native")
    program.load(bpf.OFFSET_NUMBER)
    program.jump(bpf.JUMP_AT_LEAST, FIRST_UNKNOWN, "foreign_number", "known")
    program.label("foreign_number")
    program.answer(bpf.errno_action(errno.ENOSYS))
    program.label("known")


def _arguments(program: bpf.Program, arch: Architecture) -> None:
    numbers = arch.numbers
    program.jump(bpf.JUMP_EQUAL, numbers["clone"], "", "not_clone")
    program.load(bpf.low_word(0))
    program.jump(bpf.JUMP_ANY_BIT, CLONE_NEW_ANY, "eperm", "allow")
    program.label("not_clone")
    program.jump(bpf.JUMP_EQUAL, numbers["ioctl"], "", "not_ioctl")
    program.load(bpf.low_word(1))
    program.jump(bpf.JUMP_EQUAL, TIOCSTI, "eperm")
    program.jump(bpf.JUMP_EQUAL, TIOCLINUX, "eperm", "allow")
    program.label("not_ioctl")
    program.jump(bpf.JUMP_EQUAL, numbers["socket"], "", "not_socket")
    program.load(bpf.low_word(0))
    for family in (AF_UNIX, AF_INET, AF_INET6):
        program.jump(bpf.JUMP_EQUAL, family, "allow")
    program.jump(bpf.JUMP_EQUAL, AF_NETLINK, "allow", "eafnosupport")
    program.label("not_socket")
    _set_user_id(program, arch)


def _set_user_id(program: bpf.Program, arch: Architecture) -> None:
    """A program that runs as its owner would outlast the sandbox: anybody on the machine becomes the person by it."""
    for name, flags in OPENING.items():
        if name in arch.numbers:
            program.jump(bpf.JUMP_EQUAL, arch.numbers[name], "", f"not_{name}")
            program.load(bpf.low_word(flags))
            program.jump(bpf.JUMP_ANY_BIT, O_CREAT_OR_TMPFILE, "", "allow")
            program.load(bpf.low_word(flags + 1))
            program.jump(bpf.JUMP_ANY_BIT, SET_USER_ID, "eperm", "allow")
            program.label(f"not_{name}")
    for name, mode in MODES.items():
        if name in arch.numbers:
            program.jump(bpf.JUMP_EQUAL, arch.numbers[name], f"mode_{mode}")
    program.jump(bpf.JUMP_AT_LEAST, 0, "no_mode")
    for mode in sorted(set(MODES.values())):
        program.label(f"mode_{mode}")
        program.load(bpf.low_word(mode))
        program.jump(bpf.JUMP_ANY_BIT, SET_USER_ID, "eperm", "allow")
    program.label("no_mode")


def _refuse(program: bpf.Program, arch: Architecture, names: list[str], answer: str) -> None:
    for name in names:
        if name in arch.numbers:
            program.jump(bpf.JUMP_EQUAL, arch.numbers[name], answer)


def _answers(program: bpf.Program, *, audit: bool) -> None:
    """Falling off the rules allows; the refusals stand behind because jumps only go forward."""
    program.label("allow")
    program.answer(bpf.ALLOW)
    for label, number in (
        ("eperm", errno.EPERM),
        ("enosys", errno.ENOSYS),
        ("eafnosupport", errno.EAFNOSUPPORT),
        ("as_if", 0),
    ):
        program.label(label)
        program.answer(bpf.LOG if audit else bpf.errno_action(number))
