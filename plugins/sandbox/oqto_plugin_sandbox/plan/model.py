"""The mount plan as data."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, TypeAlias

import msgspec

Access: TypeAlias = Literal["ro", "rw", "hidden"]
PRIVATE_PLACES = ("/tmp", "/var/tmp")  # noqa: S108 - inside they are the sandbox's own


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """
    What should hold at `path` and below, until a deeper rule says otherwise.

    `rank` decides between rules for the same path; `why` names the policy key for people.
    """

    path: str
    access: Access
    rank: int
    why: str


class Bind(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A piece of the host at `dest`. `is_checked`: opened without following any symlink, bound by descriptor."""

    dest: str
    source: str
    writable: bool = False
    is_checked: bool = True
    why: str = ""


class Tmpfs(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An empty private directory; `size_mb=0` leaves the size to the kernel."""

    dest: str
    size_mb: int = 0
    mode: int = 0o755
    why: str = ""


class Hide(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What can be neither opened nor listed, in place of a file or a folder of the host."""

    dest: str
    is_folder: bool = False
    why: str = ""


class Link(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A symbolic link."""

    dest: str
    target: str


class Folder(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A folder in a private directory that is sealed later; no mount of its own."""

    dest: str


class Copy(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A small file of the host as it is at the start, in a private directory that is sealed later; no mount."""

    dest: str
    source: str
    mode: int
    why: str = ""


class Data(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A read-only file with this content."""

    dest: str
    content: bytes


class Kernel(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A fresh `/proc` or a minimal `/dev`."""

    dest: str
    kind: Literal["proc", "dev"]


class Seal(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """From here on the mount at `dest` is read-only."""

    dest: str


Op: TypeAlias = Bind | Tmpfs | Folder | Copy | Hide | Link | Data | Kernel | Seal


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Mounts in order, directories to make on the host first, and notes for people."""

    ops: tuple[Op, ...]
    creates: tuple[str, ...] = ()
    reserved: tuple[str, ...] = ()
    """Denied names below which nothing may be; a folder keeps each as long as a sandbox uses it."""
    notes: tuple[str, ...] = ()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a session needs, whatever the policy says. All paths absolute and without symlinks."""

    workspace: str
    home: str
    uid: int
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()
    """Other workspaces below this one; their policies are not this agent's to change."""

    reserves: bool = False
    """Somebody makes and removes the folders that keep denied names; without that they are left alone."""
    sockets: tuple[tuple[str, str], ...] = ()
    """`(path outside, path inside)` of Unix sockets that the init process forwards to."""


def is_within(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies below it."""
    return path == folder or path.startswith(folder if folder.endswith("/") else folder + "/")


@lru_cache(maxsize=4096)
def upward(path: str) -> tuple[str, ...]:
    """The path itself and every folder above it, deepest first, ending with `/`. Plans ask for few paths, often."""
    found = []
    while path not in ("", "/"):
        found.append(path)
        path = path[: path.rindex("/")]
    return (*found, "/")


@lru_cache(maxsize=4096)
def depth(path: str) -> int:
    return path.rstrip("/").count("/")


def parents_between(folder: str, path: str) -> list[str]:
    """Directories strictly between the two, shallow first."""
    names = path.removeprefix(folder).strip("/").split("/")[:-1]
    return [folder.rstrip("/") + "/" + "/".join(names[: count + 1]) for count in range(len(names))]
