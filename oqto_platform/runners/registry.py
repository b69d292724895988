"""Account → principal → the runner's socket, and who must be behind it."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from oqto_platform.children import Child
from oqto_platform.config.expand import fill
from oqto_platform.config.sections import Local
from oqto_platform.errors import RunnerUnavailable
from oqto_platform.settings import Settings
from oqto_platform.types import Account, Principal

IDLE_EXIT_S = 900
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "OQTO_PI", "OQTO_NODE", "OQTO_RUNNER_ID",
             "OQTO_LOG", "RUST_LOG", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")  # fmt: skip


class RunnerAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a runner listens and the uid that must answer there."""

    socket: str
    uid: int
    principal: Principal


class Registry:
    """The runner of each account. `child` is set when the server starts a runner of its own."""

    def __init__(self, settings: Settings, state_dir: Path, env: Mapping[str, str] = os.environ) -> None:
        local = settings.section("local", Local)
        self._pattern = "" if local.single_user else _pattern(local)
        self._principal = _principal(os.getuid())
        self._own_socket = str(state_dir / "runner" / "oqto-runner.sock")
        self.child = None if self._pattern else _child(self._own_socket, state_dir, settings, env)

    def address(self, account: Account) -> RunnerAddress:
        """Where the runner of `account` listens; raises `RunnerUnavailable` for an unknown Linux user."""
        principal = self._principal
        if not self._pattern:
            return RunnerAddress(socket=self._own_socket, uid=principal.uid, principal=principal)
        socket = fill(self._pattern, user=principal.name, uid=principal.uid)
        return RunnerAddress(socket=socket, uid=principal.uid, principal=principal)


def _pattern(local: Local) -> str:
    if local.runner_socket_pattern:
        return local.runner_socket_pattern
    return f"{local.socket_dir}/{{user}}/oqto-runner.sock" if local.socket_dir else ""


def _principal(uid: int) -> Principal:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError as exc:
        raise RunnerUnavailable(
            f"uid {uid} has no entry in the user database; add one to /etc/passwd"
        ) from exc
    return Principal(name=entry.pw_name, uid=uid, home=entry.pw_dir)


def _child(socket: str, state_dir: Path, settings: Settings, env: Mapping[str, str]) -> Child:
    folder = state_dir / "runner"
    # -I: nothing that an agent leaves in ~/.local or in the environment is loaded into the runner.
    argv = [sys.executable, "-I", "-m", "oqto_runner", "--socket", socket, "--state-dir", str(folder)]
    argv += ["--idle-exit-s", str(IDLE_EXIT_S)]
    if Path(settings.source).is_file():
        argv += ["--config", settings.source]
    return Child(
        name="runner",
        argv=(*argv, *_choice_of_plugins(settings, env)),
        socket=socket,
        log_file=str(folder / "runner.log"),
        env={name: env[name] for name in INHERITED if name in env},
    )


def _choice_of_plugins(settings: Settings, env: Mapping[str, str]) -> list[str]:
    named = tuple(name for name in env.get("OQTO_PLUGINS", "").split(",") if name)
    disabled, only = _plugins(settings, "disabled"), named or _plugins(settings, "only")
    return [
        *(word for name in disabled for word in ("--disable-plugin", name)),
        *(word for name in only for word in ("--only-plugin", name)),
    ]


def _plugins(settings: Settings, field: str) -> tuple[str, ...]:
    found: tuple[str, ...] = getattr(settings.any_section("plugins"), field)
    return found
