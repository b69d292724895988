"""
What an agent left behind that other programs obey without being asked.

Protected names that appeared or changed; in repositories anywhere below the workspace, hooks and settings
that make git run something; new programs in writable folders of programs. Looked for when a session ends,
within bounds. The kernel's change time tells what is new: an agent cannot turn it back.
"""

# ruff: noqa: PTH112, PTH113, PTH114, PTH119, PTH208 - paths are passed on as text, exactly as the kernel sees them

from __future__ import annotations

import configparser
import contextlib
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from oqto_plugin_sandbox.plan.model import PRIVATE_PLACES
from oqto_plugin_sandbox.plan.rules import PROTECTED_NAMES

MAX_FOLDERS = 5_000
MAX_DEPTH = 6
MAX_BYTES = 1 << 20
MAX_S = 0.5
OBEYED = "other programs obey it without asking"
SLACK_S = 2.0
"""File systems stamp with a coarser clock than ours."""

PASSED_OVER = ("node_modules", ".venv", "venv", "__pycache__", "target")
_RUNS = re.compile(
    r"^(core\.(fsmonitor|hookspath|sshcommand|pager|editor|gitproxy|askpass)|"
    r"filter\..*\.(clean|smudge|process)|diff\.(external|.*\.(command|textconv))|merge\..*\.driver|"
    r"alias\..*|gpg\.(.*\.)?program|credential\.(.*\.)?helper|include(if\..*)?\.path|pager\..*|"
    r"sequence\.editor|interactive\.difffilter|uploadpack\.packobjectshook|remote\..*\.(uploadpack|receivepack|vcs))$"
)


class Before(NamedTuple):
    """A workspace when a sandbox started: its protected names with what they held, and the time."""

    workspace: str
    names: Mapping[str, str]
    programs: tuple[str, ...]
    at_s: float


class Finding(NamedTuple):
    """`event` for the audit log; `sentence` for people begins with the path."""

    event: str
    path: str
    sentence: str


def before(workspace: str, writable: Iterable[str] = ()) -> Before:
    """`writable`: folders outside the workspace that the agent may write."""
    areas = [area for area in writable if area not in PRIVATE_PLACES]
    programs = tuple(area if os.path.basename(area) == "bin" else f"{area}/bin" for area in areas)
    return Before(workspace, _present(workspace), programs, time.time() - SLACK_S)


def found(start: Before) -> list[Finding]:
    """Everything that a person should look at, sorted by path."""
    findings = [*_names(start), *_repositories(start), *_programs(start)]
    return sorted({one.path: one for one in findings}.values(), key=lambda one: one.path)


def _names(start: Before) -> Iterator[Finding]:
    for name, digest in _present(start.workspace).items():
        path = f"{start.workspace}/{name}"
        if name not in start.names:
            yield Finding("protected name appeared", path, f"{path} is new, and {OBEYED}")
        elif start.names[name] != digest:
            yield Finding("protected name changed", path, f"{path} was changed, and {OBEYED}")


def _present(workspace: str) -> dict[str, str]:
    """
    `.oqto` is always made by the launcher, and nobody but the person can change it. A repository that is
    made is no finding; what it would run is.
    """
    paths = {name: f"{workspace}/{name}" for name in PROTECTED_NAMES[1:] if not name.startswith(".git/")}
    return {name: _digest(path) for name, path in paths.items() if os.path.lexists(path)}


def _digest(path: str) -> str:
    """Of a file, or of the names and files of a folder; what is no plain file counts by its kind."""
    if os.path.isdir(path) and not os.path.islink(path):
        parts = [f"{name}:{_digest(f'{path}/{name}')}" for name in sorted(os.listdir(path))[:200]]
        return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()
    with contextlib.suppress(OSError):
        if not os.path.isfile(path) or os.path.islink(path):
            return f"mode {os.lstat(path).st_mode}"
        with Path(path).open("rb") as file:
            return hashlib.sha256(file.read(MAX_BYTES)).hexdigest()
    return "?"


def _repositories(start: Before) -> Iterator[Finding]:
    for folder in _git_folders(start.workspace):
        for path in _new_files(f"{folder}/hooks", start.at_s):
            if not path.endswith(".sample") and os.access(path, os.X_OK):
                yield Finding("git hook appeared", path, f"{path} is new, and git runs it on this machine")
        if _is_new(path := f"{folder}/commondir", start.at_s):
            said = f"{path} is new, and git takes what it runs on this machine from the folder that it names"
            yield Finding("git settings that run something", path, said)
        for name in ("config", "config.worktree"):
            path = f"{folder}/{name}"
            if _is_new(path, start.at_s) and (keys := _running_keys(path)):
                said = f"{path} says what git runs on this machine: {', '.join(keys)}"
                yield Finding("git settings that run something", path, said)


def _git_folders(workspace: str) -> Iterator[str]:
    """`.git` of the workspace, of repositories below it, and of submodules; links are not followed."""
    ends_at, left = time.monotonic() + MAX_S, MAX_FOLDERS
    for folder, names, files in os.walk(workspace):
        left -= 1
        if not left or time.monotonic() > ends_at:
            return
        if "HEAD" in files and "objects" in names:
            yield folder
        is_deep = folder.removeprefix(workspace).count("/") >= MAX_DEPTH
        names[:] = (
            []
            if is_deep
            else [name for name in names if name not in (*PASSED_OVER, "objects", "refs", "logs")]
        )


def _running_keys(path: str) -> list[str]:
    """Keys of a git configuration that make git run a program, read as far as it can be read."""
    parser = configparser.ConfigParser(
        strict=False, interpolation=None, allow_no_value=True, delimiters=("=",), comment_prefixes=("#", ";")
    )
    try:
        lines = Path(path).read_text(errors="replace")[:MAX_BYTES].splitlines()
        parser.read_string("\n".join(line.strip() for line in lines))
    except (OSError, configparser.Error):
        return ["it cannot be read"]
    keys = [f"{_section(name)}.{key}" for name in parser.sections() for key in parser[name]]
    return sorted({key for key in keys if _RUNS.match(key.lower())})


def _section(name: str) -> str:
    """`filter "x"` as git writes it elsewhere: `filter.x`."""
    kind, _, own = name.partition(" ")
    return f"{kind}.{own.strip(chr(34))}" if own else kind


def _programs(start: Before) -> Iterator[Finding]:
    for folder in start.programs:
        for path in _new_files(folder, start.at_s):
            if os.access(path, os.X_OK):
                yield Finding("program appeared", path, f"{path} is a new program that your shell may find")


def _new_files(folder: str, since_s: float) -> list[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [path for name in names if _is_new(path := f"{folder}/{name}", since_s)]


def _is_new(path: str, since_s: float) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return not stat.S_ISDIR(status.st_mode) and status.st_ctime >= since_s
