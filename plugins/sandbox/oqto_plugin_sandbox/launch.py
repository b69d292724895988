"""From plan to process: what bubblewrap is started with, all of it in descriptors that only it can read."""

# ruff: noqa: PTH112, PTH116 - paths are compared and passed on as text, exactly as the kernel sees them
# ruff: noqa: S108 - /tmp is the sandbox's own

from __future__ import annotations

import fnmatch
import os
import platform
import pwd
import re
import resource
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from oqto_platform.errors import Invalid, Unconfined
from oqto_platform.types import ConfinedPlan, SpawnPlan
from oqto_plugin_sandbox import first, host, landlock, mounting
from oqto_plugin_sandbox.plan.compose import RELAY_FOLDER
from oqto_plugin_sandbox.plan.model import Plan, Request
from oqto_plugin_sandbox.plan.opening import make_beneath
from oqto_plugin_sandbox.plan.planned import planned
from oqto_plugin_sandbox.plan.render import Descriptors, expected_mounts, options
from oqto_plugin_sandbox.plan.steps import devices_mounted, steps
from oqto_plugin_sandbox.plan.system import INSIDE_UID
from oqto_plugin_sandbox.policy.model import Policy
from oqto_plugin_sandbox.seccomp import filters

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
ALWAYS = {"PATH": PATH, "LANG": "C.UTF-8", "TERM": "dumb", "SHELL": "/bin/bash", "TMPDIR": "/tmp"}
MIB = 1 << 20
NO_CORE = 1
"""Bytes. With 0 the kernel still starts a core handler such as systemd-coredump; 1 is its sign for not doing so."""

MAX_OPTIONS = 8500
"""bubblewrap stops at 9000 arguments; the command comes on top."""

# Variables that make programs load code or reach services; the platform has no reason to pass them.
NEVER = (
    "LD_*", "DYLD_*", "GCONV_PATH", "BASH_ENV", "ENV", "PROMPT_COMMAND", "PYTHON*", "PERL5*", "RUBY*",
    "NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "SSH_AUTH_SOCK", "DBUS_*", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY",
    "XDG_RUNTIME_DIR", "DOCKER_HOST", "KUBECONFIG", "AUTH_JWT_SECRET", "EAVS_MASTER_KEY", "TMUX", "TMUX_PANE",
    "OQTO_SANDBOX*", "OQTO_NO_SANDBOX",
)  # fmt: skip


class Cage(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides how one process is confined, before anything is opened."""

    policy: Policy
    plan: Plan
    request: Request
    relays: tuple[tuple[int, str], ...] = ()
    env: Mapping[str, str] = {}
    cwd: str
    argv: tuple[str, ...]
    groups: tuple[str, ...] = ()
    causes: tuple[tuple[str, str], ...] = ()
    rlimits: tuple[tuple[int, int], ...] = ()
    cpu_time: str = ""
    """The file that counts the processor time of the sandbox's control group; empty without one."""

    report: int = -1
    """The writing end of a pipe for what the init process sees; nobody listens when it is negative."""


def design(
    policy: Policy,
    workspace: str,
    spawn: SpawnPlan,
    home: str,
    uid: int,
    *,
    reserves: bool = False,
    nested: tuple[str, ...] = (),
) -> Cage:
    """Compute everything for one spawn. Raises `Unconfined` or `Invalid` and changes nothing."""
    relays = spawn.relays if policy.network.mode != "open" else ()
    sockets = tuple((os.path.realpath(r.socket), f"{RELAY_FOLDER}/{r.port}.sock") for r in relays)
    request = Request(
        workspace=real_workspace(workspace),
        home=os.path.realpath(home),
        uid=uid,
        readable=tuple(sorted({os.path.realpath(path) for path in spawn.readable})),
        writable=tuple(sorted({os.path.realpath(path) for path in spawn.writable})),
        sockets=sockets,
        nested=nested,
        reserves=reserves,
    )
    return Cage(
        policy=policy,
        plan=planned(policy, request),
        request=request,
        relays=tuple((relay.port, inside) for relay, (_, inside) in zip(relays, sockets, strict=True)),
        env=environment(policy, spawn.env, request.home),
        cwd=os.path.realpath(spawn.cwd),
        argv=spawn.argv,
    )


def launch(cage: Cage) -> ConfinedPlan:
    """Open what the launcher needs and describe its command. The caller owns the descriptors."""
    bwrap = _launcher(cage.policy)
    for path in cage.plan.creates:
        _create(path, cage.request)
    with Descriptors() as owned:
        return ConfinedPlan(
            argv=_command(cage, bwrap, owned),
            cwd=cage.cwd,
            env={},
            fds=tuple(owned.fds),
            confined_by="bubblewrap",
            profile=cage.policy.profile,
            network=cage.policy.network.mode,
            summary=summary(cage),
        )


def _launcher(policy: Policy) -> host.Bubblewrap:
    bwrap = host.bubblewrap()
    if policy.require_fixed_bwrap and not bwrap.is_fixed:
        raise Unconfined(f"require_fixed_bwrap asks for bubblewrap 0.12. Repair: {host.install_command()}")
    host.probe()
    return bwrap


def _command(cage: Cage, bwrap: host.Bubblewrap, owned: Descriptors) -> tuple[str, ...]:
    words, made_inside = _division(cage, owned, by_fd=bwrap.binds_by_fd)
    if len(words) > MAX_OPTIONS:
        raise Unconfined(f"the policy needs {len(words)} options for bubblewrap, the limit is {MAX_OPTIONS}")
    arguments = owned.memory("oqto-arguments", b"".join(os.fsencode(word) + b"\0" for word in words))
    init = f"/proc/self/fd/{owned.memory('oqto-init', first.program(), is_program=True)}"
    config = owned.memory("oqto-config", first.words([*made_inside, *_statements(cage, owned)]))
    return init, "shield", bwrap.path, "--args", str(arguments), "--", init, str(config), *cage.argv


def unconfined(spawn: SpawnPlan) -> ConfinedPlan:
    """The plan as it is: a base file of the policy says `enabled = false`."""
    return ConfinedPlan(
        argv=spawn.argv,
        cwd=spawn.cwd,
        env=spawn.env,
        confined_by="none",
        profile="off",
        network="open",
        summary="sandbox off: the agent can do everything you can; set enabled = true in sandbox.toml",
    )


def summary(cage: Cage) -> str:
    """One line for people."""
    writes = "can read here" if cage.policy.readonly_workspace else "can write here"
    line = f"{writes}; network: {cage.policy.network.mode}; profile {cage.policy.profile}"
    if cage.policy.seccomp_mode != "enforce":
        line += f"; system-call filter: {cage.policy.seccomp_mode}"
    if cage.request.uid == 0:
        line += (
            "; warning: the runner is root, so its files are root's; use an ordinary account where you can"
        )
    return line


def real_workspace(path: str) -> str:
    """The workspace without symlinks. Raises `Invalid` with the path."""
    real = os.path.realpath(path)
    if not os.path.isdir(real):
        raise Invalid(f"the workspace {path} is not a folder")
    if any(character in real for character in "\0\n"):
        raise Invalid(f"the workspace {path!r} has a line break in its name")
    return real


def environment(policy: Policy, wanted: Mapping[str, str], home: str) -> dict[str, str]:
    """The whole environment of the agent: fixed values, then the platform's, less what loads code."""
    refused = (*NEVER, *policy.env.denied)
    passed = {k: v for k, v in wanted.items() if not _is_named(k, refused)}
    for name, value in passed.items():
        if "\0" in name + value or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise Invalid(f"the environment variable {name!r} cannot be passed on: bad name or a zero byte")
    name = _account_name(os.getuid())
    own = {"HOME": home, "USER": name, "LOGNAME": name}
    return {**ALWAYS, **own, **_host_values(policy, refused), **passed}


@cache
def _account_name(uid: int) -> str:
    """Root's agents have a name of their own; a container may run us as a number that no account has."""
    try:
        return "oqto" if uid == 0 else pwd.getpwuid(uid).pw_name
    except KeyError:
        return "oqto"


def _host_values(policy: Policy, refused: tuple[str, ...]) -> dict[str, str]:
    """Variables of the runner that a base file lets through with `env.pass`."""
    names = os.environ if policy.env.passed else ()
    return {
        name: os.environ[name]
        for name in names
        if _is_named(name, policy.env.passed) and not _is_named(name, refused)
    }


def _is_named(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _division(cage: Cage, owned: Descriptors, *, by_fd: bool) -> tuple[list[str], list[tuple[object, ...]]]:
    """What bubblewrap does, in its options, and what the first process inside does, in statements."""
    shared = [*_namespaces(cage), *_environment(cage)]
    bases = [owned.memory("oqto-filter", program) for program in _base_filters(cage.policy)]
    if mounting.obstacle():
        filtered = [word for fd in bases for word in ("--add-seccomp-fd", str(fd))]
        return [
            *shared,
            *_rights(cage),
            *options(cage.plan, owned, by_fd=by_fd),
            "--chdir",
            cage.cwd,
            *filtered,
        ], []
    uid = cage.request.uid or INSIDE_UID
    account = ("account", uid, os.getgid() or INSIDE_UID)
    own = [account, ("cwd", cage.cwd), *(("base", fd) for fd in bases)]
    return [*shared, *mounting.FOR_US], [*own, *steps(cage.plan, owned), *devices_mounted()]


def _namespaces(cage: Cage) -> list[str]:
    """Always all of them. The network only stays shared where the policy opens it."""
    words = ["--unshare-user", "--unshare-ipc", "--unshare-uts", "--unshare-pid", "--unshare-cgroup-try"]
    words += ["--hostname", "oqto", "--die-with-parent", "--as-pid-1", "--clearenv", "--cap-drop", "ALL"]
    return [*words, *([] if cage.policy.network.mode == "open" else ["--unshare-net"])]


def _rights(cage: Cage) -> list[str]:
    """What the first process does itself when it makes the mounts."""
    words = ["--disable-userns"]
    if cage.policy.assert_userns_disabled:
        words += ["--assert-userns-disabled"]
    if cage.request.uid == 0:
        words += ["--uid", str(INSIDE_UID), "--gid", str(INSIDE_UID)]
    return words


def _environment(cage: Cage) -> list[str]:
    return [word for name, value in sorted(cage.env.items()) for word in ("--setenv", name, value)]


def _base_filters(policy: Policy) -> list[bytes]:
    """What covers every process inside, the first one too."""
    if policy.seccomp_mode == "off":
        return []
    audit = policy.seccomp_mode == "audit"
    program = filters.base_filter(platform.machine(), audit=audit, allow_ptrace=policy.allow_ptrace)
    return [program, *(_extra_filter(path) for path in policy.seccomp_filters)]


def _extra_filter(path: str) -> bytes:
    """A filter of the administrator. Raises `Unconfined` when somebody else could have written it."""
    try:
        status, content = os.stat(path), Path(path).read_bytes()
    except OSError as exc:
        raise Unconfined(f"seccomp_bpf_path: {path}: {exc.strerror}") from exc
    if status.st_uid != 0 or status.st_mode & 0o022:
        raise Unconfined(
            f"seccomp_bpf_path: {path} can be changed by somebody else than root; chown root, chmod 644"
        )
    if not content or len(content) % 8:
        raise Unconfined(
            f"seccomp_bpf_path: {path} is not a compiled filter; its size is not a multiple of 8"
        )
    return content


def _statements(cage: Cage, owned: Descriptors) -> list[tuple[object, ...]]:
    """The configuration of the first process inside: what `init/source/config.c` knows."""
    policy = cage.policy
    groups = [owned.adopt(os.open(path, os.O_WRONLY | os.O_CLOEXEC)) for path in cage.groups]
    causes = [(owned.adopt(os.open(path, os.O_RDONLY | os.O_CLOEXEC)), why) for path, why in cage.causes]
    program = _agent_filter(policy)
    return [
        *(("group", fd) for fd in groups),
        *(("mount", access, path) for path, access in expected_mounts(cage.plan)),
        *(("status", name, value) for name, value in _expected_status(policy)),
        *(("relay", port, path) for port, path in cage.relays),
        *(("rlimit", which, value) for which, value in (*_rlimits(policy), *cage.rlimits)),
        *landlock.statements(policy, cage.plan),
        *([("filter", owned.memory("oqto-filter", program))] if program else []),
        *(("cause", fd, why) for fd, why in causes),
        *([("wall", policy.limits.wall_seconds)] if policy.limits.wall_seconds else []),
        *_processor_time(cage, owned),
        *([("report", owned.adopt(os.dup(cage.report)))] if cage.report >= 0 else []),
    ]


def _processor_time(cage: Cage, owned: Descriptors) -> list[tuple[object, ...]]:
    if not cage.cpu_time:
        return []
    counter = owned.adopt(os.open(cage.cpu_time, os.O_RDONLY | os.O_CLOEXEC))
    return [("cpu", counter, cage.policy.limits.cpu_seconds)]


def _expected_status(policy: Policy) -> list[tuple[str, str]]:
    filtered = [] if policy.seccomp_mode == "off" else [("Seccomp", "2")]
    none = [(f"Cap{kind}", "0" * 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")]
    return [("NoNewPrivs", "1"), *none, *filtered]


def _agent_filter(policy: Policy) -> bytes:
    """Shared network without Landlock's scope: abstract sockets of the host would be in reach."""
    is_exposed = policy.network.mode == "open" and not landlock.scopes(policy)
    if policy.seccomp_mode == "off":
        return b""
    no_unix = policy.deny_unix or is_exposed
    return filters.agent_filter(platform.machine(), no_unix=no_unix, audit=policy.seccomp_mode == "audit")


def _rlimits(policy: Policy) -> list[tuple[int, int]]:
    limits = policy.limits
    found = [(resource.RLIMIT_CORE, NO_CORE)]
    for number, value, unit in (
        (resource.RLIMIT_NOFILE, limits.open_files, 1),
        (resource.RLIMIT_FSIZE, limits.file_size_mb, MIB),
        (resource.RLIMIT_CPU, limits.cpu_seconds, 1),
    ):
        if value:
            found.append((number, value * unit))
    return found


def _create(path: str, request: Request) -> None:
    top = request.workspace if path.startswith(request.workspace + "/") else request.home
    mode = 0o755 if top == request.workspace else 0o700
    try:
        make_beneath(top, path, mode)
    except OSError as exc:
        raise Unconfined(f"cannot make {path}: {exc.strerror}") from exc
