"""The effective policy: one frozen value per key of `sandbox.toml`."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Home: TypeAlias = Literal["rw", "ro", "private"]
Mode: TypeAlias = Literal["off", "audit", "enforce"]
NetworkMode: TypeAlias = Literal["open", "proxy", "isolated"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Upper bounds; `None` is unlimited. Sizes in MiB, times in seconds."""

    memory_mb: int | None = None
    pids: int | None = None
    cpu_seconds: int | None = None
    file_size_mb: int | None = 2048
    open_files: int | None = 4096
    tmp_mb: int | None = 1024
    shm_mb: int | None = 256
    wall_seconds: int | None = None


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """How far the agent reaches. The lists count in mode `proxy` only; `allow_domains=None` allows all names."""

    mode: NetworkMode = "open"
    allow_domains: tuple[str, ...] | None = None
    deny_domains: tuple[str, ...] = ()
    log_requests: bool = True


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Names (globs) of variables that may reach the agent beyond the platform's own, and that never may."""

    passed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """
    Everything that is enforced. Paths are absolute; `None` in an allow list means that nothing narrows it.

    `profiles` are the names that went into it, `layers` the files.
    """

    profiles: tuple[str, ...] = ("development",)
    layers: tuple[str, ...] = ()
    enabled: bool = True
    home: Home = "ro"
    deny_read: tuple[str, ...] = ()
    deny_write: tuple[str, ...] = ()
    allow_read: tuple[str, ...] | None = None
    allow_write: tuple[str, ...] = ()
    extra_ro_bind: tuple[str, ...] = ()
    extra_rw_bind: tuple[str, ...] = ()
    isolate_pid: bool = True
    drop_all_caps: bool = True
    disable_userns: bool = True
    assert_userns_disabled: bool = False
    no_new_privs: bool = True
    readonly_workspace: bool = False
    seccomp_mode: Mode = "enforce"
    landlock_mode: Mode = "audit"
    seccomp_filters: tuple[str, ...] = ()
    """Files of classic BPF that are loaded in addition to the built-in filter."""
    deny_unix: bool = False
    require_fixed_bwrap: bool = False
    allow_ptrace: bool = False
    protect_defaults: bool = True
    allow_git_config: bool = False
    allow_home_workspace: bool = False
    network: Network = Network()
    unix_sockets: tuple[str, ...] = ()
    env: Environment = Environment()
    limits: Limits = Limits()
    sources: dict[str, str] = {}
    """For messages: `key`, and `key=entry` of deny lists, to what states it: `/etc/oqto/sandbox.toml:7`, `profile strict`."""

    @property
    def profile(self) -> str:
        """The name people see: the strictest that takes part."""
        ranks = {"minimal": 0, "development": 1, "strict": 3}
        return max(sorted(self.profiles), key=lambda name: ranks.get(name, 2))
