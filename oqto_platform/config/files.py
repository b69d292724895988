"""Which files hold the configuration, what is in them, and who else could write them."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oqto_platform.config.expand import ExpansionError, expand, xdg
from oqto_platform.config.words import kind_of
from oqto_platform.errors import ConfigError

Tree = dict[str, Any]
PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
BYTE_ORDER_MARK = "\ufeff"
TWICE = (
    "Cannot overwrite a value",
    "Cannot declare",
    "Cannot mutate immutable namespace",
    "Duplicate inline table key",
)
MAX_LINKS = 40
DEFAULT_PROFILE = "default"
"""The one without a file of its own."""


def locate(env: Mapping[str, str], explicit: str = "") -> Path | None:
    """
    The file to read: flag, `OQTO_CONFIG`, the XDG folder, `/etc/oqto`, `/etc/octo`; `None` when there is none.

    A file that was named but does not exist is an error; a folder stands for its `config.toml`.
    """
    for source, name in (("--config", explicit), ("OQTO_CONFIG", env.get("OQTO_CONFIG", ""))):
        if name:
            path = Path(_expanded_name(source, name, env))
            path = path / "config.toml" if path.is_dir() else path
            if not path.is_file():
                raise ConfigError(f"{source} names {path}, which is not a file")
            return path
    return next((place for place in usual_places(env) if place.is_file()), None)


def usual_places(env: Mapping[str, str]) -> tuple[Path, ...]:
    """Where the file is looked for when nothing names one; the first is the person's own."""
    folders = (xdg("XDG_CONFIG_HOME", env) / "oqto", Path("/etc/oqto"), Path("/etc/octo"))
    return tuple(folder / "config.toml" for folder in folders)


def _expanded_name(source: str, name: str, env: Mapping[str, str]) -> str:
    try:
        return expand(name, env)
    except ExpansionError as exc:
        raise ConfigError(f"{source} names {name}: {exc}") from exc


def related(path: Path) -> list[Path]:
    """`path` and the files of all its profiles."""
    return [path, *sorted(path.parent.glob(f"{path.stem}.*{path.suffix}"))]


def relocate(env: Mapping[str, str], explicit: str, held: Path | None) -> Path | None:
    """
    `locate` for a running server: the file that it holds must still be there.

    Somebody who deletes and writes anew must not get the defaults, or another file, in between.
    """
    if held is not None and not held.exists():
        raise ConfigError(f"{held}: is gone; put it back, or restart the server to go on without it")
    return locate(env, explicit)


def read(path: Path, *, profile: str = "", text: str | None = None) -> list[tuple[Path, Tree]]:
    """
    The tables of `path` and, over it, of its profile's file. Raises `ConfigError` with line and column.

    `profile` wins over the key of that name. `text` stands for what is in `path` (to check it before it is
    written).
    """
    tree = parse(path, read_text(path) if text is None else text)
    overlay = _overlay(
        path,
        profile or tree.get("profile", DEFAULT_PROFILE),
        "OQTO__PROFILE" if profile else f"{path}: profile",
    )
    return [(path, tree), *([(overlay, parse(overlay, read_text(overlay)))] if overlay else [])]


def _overlay(path: Path, profile: Any, origin: str) -> Path | None:
    """The file of the profile; `origin` is where that was set."""
    if not isinstance(profile, str):
        raise ConfigError(f"{origin}: expected text, got {kind_of(profile)}")
    if "/" in profile:
        raise ConfigError(f"{origin}: {profile!r} is part of a file name, so it holds no '/'")
    if profile == DEFAULT_PROFILE:
        return None
    overlay = path.with_name(f"{path.stem}.{profile}.toml")
    if not overlay.is_file():
        raise ConfigError(
            f"{origin}: {profile!r} has no file {overlay}; make it, or leave {DEFAULT_PROFILE!r}"
        )
    return overlay


def read_text(path: Path) -> str:
    """The text of a file, or `ConfigError`."""
    try:
        return path.read_text(encoding="utf-8")
    except IsADirectoryError as exc:
        raise ConfigError(f"{path}: is a folder; a file is meant") from exc
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from exc


def parse(path: Path, text: str) -> Tree:
    """The tables in `text`; errors tell line, column and, for a key that comes twice, its name."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: {_explain(str(exc), text)}") from exc


def _explain(message: str, text: str) -> str:
    place = PLACE.search(message)
    words = PLACE.sub("", message)
    if text.startswith(BYTE_ORDER_MARK):
        return "begins with a byte-order mark; save it as UTF-8 without one"
    lines = text.splitlines()
    number = int(place[1]) if place is not None and place[1] else len(lines)
    if words.startswith(TWICE):
        return f"line {number}: {_named(lines[number - 1])} comes twice; remove one of them"
    if place is None or place[1] is None:
        return f"not valid TOML: {words} at the end of the file"
    return f"line {place[1]}, column {place[2]}: not valid TOML: {words}"


def _named(line: str) -> str:
    line = line.strip()
    return line if line.startswith("[") else repr(line.partition("=")[0].strip())


def refuse_other_hands(path: Path, uid: int) -> None:
    """
    Raise `ConfigError` when somebody besides root and `uid` could change what `path` says.

    A configuration names programs and secrets: who writes it, rules the server.
    """
    real = path.resolve()
    for place, kind in ((real, "file"), (real.parent, "folder")):
        try:
            status = place.stat()
        except OSError as exc:  # it may be on the way to another name this very moment
            raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
        if status.st_uid not in (0, uid):
            raise ConfigError(
                f"{path}: the {kind} {place} belongs to {_user(status.st_uid)}, who could change it; "
                f"repair: chown {_user(uid)} {place}"
            )
        if writers := _other_writers(status, kind):
            raise ConfigError(f"{path}: {writers} can write the {kind} {place}; repair: chmod go-w {place}")


def _other_writers(status: os.stat_result, kind: str) -> str:
    is_sticky = kind == "folder" and status.st_mode & stat.S_ISVTX
    if status.st_mode & stat.S_IWOTH and not is_sticky:
        return "everybody"
    is_shared = status.st_mode & stat.S_IWGRP and not is_sticky and status.st_gid != 0
    return f"the group {_group(status.st_gid)}" if is_shared and not _is_own(status) else ""


def _is_own(status: os.stat_result) -> bool:
    """Whether the group is the owner's private one, as useradd makes it."""
    import grp
    import pwd

    try:
        owner, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    return (
        owner.pw_gid == group.gr_gid
        and owner.pw_name == group.gr_name
        and set(group.gr_mem) <= {owner.pw_name}
    )


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _group(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"gid {gid}"


def folders_to_watch(path: Path) -> set[Path]:
    """
    The folders in which a change can change what `path` is: its own, and that of every link on the way.

    A missing folder stands for the nearest one above it that exists.
    """
    return {existing(step.parent) for step in steps(path)}


def steps(path: Path) -> Iterator[Path]:
    """`path`, and each link and target on the way to the file behind it."""
    rest, here, links = list(path.absolute().parts[1:]), Path("/"), 0
    while rest:
        here = here / rest.pop(0)
        if here.is_symlink() and links < MAX_LINKS:
            yield here
            links += 1
            target = Path(os.path.normpath(here.parent / here.readlink()))
            rest, here = [*target.parts[1:], *rest], Path("/")
    yield path.absolute()
    yield here


def existing(folder: Path) -> Path:
    """`folder`, or the nearest one above it that exists."""
    while not folder.is_dir():
        folder = folder.parent
    return folder


def fingerprint(paths: tuple[Path, ...]) -> tuple[object, ...]:
    """Differs when any of the files was written, replaced, made or removed."""
    return tuple(_state(path) for path in paths)


def _state(path: Path) -> object:
    try:
        status = path.stat()
    except OSError as exc:
        return exc.errno
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode, status.st_uid
