"""Find the policy files of a session, check that nobody else could have written them, merge them."""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec

from oqto_platform.errors import ConfigError
from oqto_plugin_sandbox.host import landlock_version
from oqto_plugin_sandbox.plan.looks import Looks, Memory, end_of
from oqto_plugin_sandbox.plan.opening import open_beneath, open_plain
from oqto_plugin_sandbox.policy.document import MAX_BYTES, Place, Role, line_of, parse
from oqto_plugin_sandbox.policy.merge import Layer, merge
from oqto_plugin_sandbox.policy.model import Policy
from oqto_plugin_sandbox.policy.schema import KEYS, to_policy

SYSTEM_FILES = ("/etc/oqto/sandbox.toml", "/etc/octo/sandbox.toml")
USER_FILE = ".config/oqto/sandbox.toml"
WORKSPACE_FILE = ".oqto/sandbox.toml"
TEAM_MARK = "/run/oqto/runner-sockets"
"""Exists where one server serves several Linux users; there the base policy is root's."""

OLDER_WORDS = {"network.mode": "isolate_network"}
PATH_DENIALS = ("deny_read", "deny_write")
AS_ROOT = (
    "*/docker.sock", "*/docker.raw.sock", "*/podman.sock", "*/containerd.sock", "*/containerd.sock.ttrpc", "*/crio.sock",
    "*/buildkitd.sock", "*/lxd/unix.socket", "*/incus/unix.socket", "*/libvirt/libvirt-sock", "*/virtqemud-sock",
    "*/dbus/system_bus_socket", "/run/user/*/bus", "*/systemd/private", "*/systemd/notify", "*/snapd.socket",
)  # fmt: skip
"""Sockets that no policy may open: container and machine managers, and the buses that start units."""

ALWAYS_ON = ("isolate_pid", "drop_all_caps", "disable_userns", "no_new_privs")


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """For whom a policy is loaded. `system_files` and `is_team` are those of the machine unless tests say else."""

    home: str
    uid: int
    system_files: tuple[str, ...] = SYSTEM_FILES
    system_uid: int = 0
    is_team: bool = msgspec.field(default_factory=lambda: Path(TEAM_MARK).is_dir())


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """A policy file as it was read: the whole of it, because times and sizes do not tell every change."""

    uid: int
    mode: int
    content: bytes


class _Text(msgspec.Struct, frozen=True, kw_only=True):
    text: str
    digest: str


_policies: Memory[tuple[Owner, str], Policy] = Memory()


def load(owner: Owner, workspace: str) -> Policy:
    """The policy that holds in `workspace` now. Raises `ConfigError` that names file, line and key."""
    return _policies.recall((owner, workspace), lambda looks: read(owner, workspace, looks))


def read(owner: Owner, workspace: str, looks: Looks) -> Policy:
    """The same from nothing but the arguments and `looks`, to which every look at the machine is added."""
    layers: dict[str, _Text] = {}
    looks.at(_landlock, None)  # the built-in profiles depend on it
    system = [layer for file in owner.system_files if (layer := _system(file, owner, layers, looks))]
    if owner.is_team and not system:
        raise ConfigError(
            f"{owner.system_files[0]} does not exist, and on a machine for several people root has to state the "
            "policy. Repair: sudo oqto-sandbox init"
        )
    user = _user(owner, "user" if system else "base", layers, looks)
    own = [user] if user else []
    found = _workspace(owner, workspace, layers, looks)
    restrictions = [*(own if system else []), *([found] if found else [])]
    flat = merge(system or own, restrictions, owner.home)
    digests = tuple(f"{file}@{text.digest}" for file, text in layers.items())
    stated = [(layer, layers[layer.file].text) for layer in (*system, *own, *([found] if found else []))]
    policy = checked(to_policy(flat, layers=digests), lambda path: looks.at(end_of, path))
    rest = dict.fromkeys(KEYS, f"profile {policy.profile}")
    return msgspec.structs.replace(policy, sources={**rest, **_sources(stated, policy.profiles)})


def stamps(owner: Owner, workspace: str) -> dict[str, tuple[int, ...]]:
    """Every file that could state a policy, with what changes when it is written, replaced or removed."""
    files = (*owner.system_files, f"{owner.home}/{USER_FILE}", f"{workspace}/{WORKSPACE_FILE}")
    return {file: _stamp(file) for file in files}


def _stamp(file: str) -> tuple[int, ...]:
    try:
        status = Path(file).lstat()
    except OSError:
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _sources(stated: list[tuple[Layer, str]], profiles: tuple[str, ...]) -> dict[str, str]:
    """Each key, and each entry of a deny list as `key=entry`, with every `file:line` that states it."""
    found: dict[str, list[str]] = {}
    for layer, text in stated:
        own = {name: said for name, said in layer.statements.profiles.items() if name in profiles}
        parts = [("", layer.statements), *((f"profiles.{name}.", said) for name, said in own.items())]
        for prefix, statements in parts:
            for key, value in statements.values.items():
                line = line_of(text, prefix + key) or line_of(text, prefix + OLDER_WORDS.get(key, key))
                place = f"{layer.file}:{line}" if line else layer.file
                entries = [f"{key}={entry}" for entry in value] if key in PATH_DENIALS else []
                for name in (key, *entries):
                    found.setdefault(name, []).append(place)
    return {key: ", ".join(places) for key, places in found.items()}


def _landlock(_: None) -> int:
    return landlock_version()


def checked(policy: Policy, end: Callable[[str], str] = end_of) -> Policy:
    """The policy itself, if all of it can be enforced. `end` tells where a path leads. Raises `ConfigError`."""
    for name in ALWAYS_ON:
        if not getattr(policy, name):
            raise ConfigError(
                f"{name} = false is not available: the sandbox would not hold without it; remove the key"
            )
    _check_denials(policy)
    _check_sockets(policy, end)
    return policy


def _check_denials(policy: Policy) -> None:
    """A path that is allowed may not lie in one that is denied; the other way round is the rule."""
    for key in ("extra_ro_bind", "extra_rw_bind", "unix_sockets"):
        for path in getattr(policy, key):
            if deny := next((d for d in policy.deny_read if path == d or path.startswith(d + "/")), ""):
                raise ConfigError(
                    f"{key}: {path} lies in {deny}, which deny_read hides; remove one of them", key=key
                )


def _check_sockets(policy: Policy, end: Callable[[str], str]) -> None:
    """Behind some sockets sits somebody who does as root whatever is asked: no sandbox would be left."""
    for path in policy.unix_sockets:
        if any(fnmatch.fnmatchcase(name, pattern) for name in (path, end(path)) for pattern in AS_ROOT):
            raise ConfigError(
                f"unix_sockets.allow: whoever reaches {path} can do anything on this machine; remove it",
                key="unix_sockets.allow",
            )


def _system(file: str, owner: Owner, layers: dict[str, _Text], looks: Looks) -> Layer | None:
    found = looks.at(_system_file, file)
    if found is None:
        return None
    if found.uid != owner.system_uid or found.mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            f"{file}: somebody else than root can change it. Repair: chown root {file}; chmod 644 {file}"
        )
    return _layer(found, Place(file=file, role="base", home=owner.home), layers)


def _system_file(file: str) -> _File | None:
    return _read(file, lambda: _open_file(file))


def _user(owner: Owner, role: Role, layers: dict[str, _Text], looks: Looks) -> Layer | None:
    file = f"{owner.home}/{USER_FILE}"
    found = looks.at(_user_file, file)
    if found is None:
        return None
    if found.uid not in (owner.uid, 0) or found.mode & stat.S_IWOTH:
        raise ConfigError(f"{file}: others can change it. Repair: chmod 644 {file}")
    return _layer(found, Place(file=file, role=role, home=owner.home), layers)


def _user_file(file: str) -> _File | None:
    return _read(file, lambda: os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))


def _workspace(owner: Owner, workspace: str, layers: dict[str, _Text], looks: Looks) -> Layer | None:
    found = looks.at(_workspace_file, workspace)
    file = f"{workspace}/{WORKSPACE_FILE}"
    place = Place(file=file, role="workspace", home=owner.home, workspace=workspace)
    return _layer(found, place, layers) if found else None


def _workspace_file(workspace: str) -> _File | None:
    folder = os.open(workspace, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _read(f"{workspace}/{WORKSPACE_FILE}", lambda: open_beneath(folder, WORKSPACE_FILE))
    finally:
        os.close(folder)


def _layer(found: _File, place: Place, layers: dict[str, _Text]) -> Layer:
    text = layers[place.file] = _decoded(place.file, found.content)
    return Layer(file=place.file, statements=parse(text.text, place))


def _open_file(file: str) -> int:
    """Open for reading without following a link anywhere."""
    fd = open_plain(file)
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    finally:
        os.close(fd)


def _read(file: str, opening: Callable[[], int]) -> _File | None:
    try:
        fd = opening()
    except OSError as exc:
        if exc.errno == errno.ENOENT:
            return None
        if exc.errno in (errno.ELOOP, errno.EXDEV):
            raise ConfigError(f"{file}: a symbolic link leads to it; put a plain file there") from exc
        raise ConfigError(f"{file}: cannot be read: {exc.strerror}") from exc
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{file}: is not a plain file")
        return _File(uid=status.st_uid, mode=status.st_mode, content=_content(fd))
    finally:
        os.close(fd)


def _content(fd: int) -> bytes:
    with os.fdopen(fd, "rb", closefd=False) as opened:
        return opened.read(MAX_BYTES + 1)


def _decoded(file: str, content: bytes) -> _Text:
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{file}: larger than {MAX_BYTES // 1024} KiB")
    try:
        return _Text(text=content.decode(), digest=hashlib.sha256(content).hexdigest()[:16])
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{file}: is not UTF-8 text") from exc
