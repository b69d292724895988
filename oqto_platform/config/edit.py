"""
Changes to `config.toml` that keep comments and order.

Atomic: a reader sees the old file or the new one, and `config.toml.bak` has the old one. Two who change it
at once are told of each other; nobody overwrites what he has not seen.
"""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import hashlib
import os
import re
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from oqto_platform.config import files, keys
from oqto_platform.config.keys import Kinds
from oqto_platform.errors import ConfigError, Conflict, Internal

KEYS_OF_OTHERS = ("api_key",)
"""Secrets in tables of any name: the keys of providers."""
OTHERS = 0o007
"""A group may have to read the file: the runners of other accounts do."""

Changes = Mapping[str, Any]
"""Dotted key to its new value; `None` removes the key, so that its default holds."""


def revision(text: str) -> str:
    """Differs whenever the text does."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def text_of(path: Path | None) -> str:
    """What is in the file; nothing when there is none."""
    return files.read_text(path) if path is not None and path.exists() else ""


def change(
    path: Path, changes: Changes, *, kinds: Kinds, check: Callable[[str], object], seen: str = ""
) -> bool:
    """
    Write `changes` into `path`; whether anything differs.

    `check` gets the new text before it is written and raises when it is wrong. `seen` is the revision that
    whoever asks has looked at: `Conflict` with a diff when the file is another one by now.
    """
    with _locked(path):
        old = text_of(path.resolve())
        new = changed(path, old, changes)
        if seen and seen != revision(old):
            raise Conflict(
                f"{path} was changed by somebody else meanwhile; look at it and try again",
                diff=masked_diff(old, new, kinds),
                revision=revision(old),
            )
        check(new)
        if new != old:
            is_secret = _sets_a_secret(changes, kinds)
            _write(path.resolve(), new, backup=old if path.exists() else None, is_secret=is_secret)
        return new != old


@contextmanager
def edited(path: Path) -> Iterator[tomlkit.TOMLDocument]:
    """The document of `path` (an empty one when there is no file); written back when the block succeeds."""
    with _locked(path):
        real = path.resolve()
        old = text_of(real)
        document = _document(path, old)
        yield document
        _write(real, tomlkit.dumps(document), backup=old if real.exists() else None)


def replace(path: Path, text: str, *, seen: str) -> None:
    """Write the whole text, unless the file is not the one of revision `seen` any more (`Conflict`)."""
    with _locked(path):
        old = text_of(path.resolve())
        if seen != revision(old):
            raise Conflict(f"{path} was changed by somebody else meanwhile")
        _write(path.resolve(), text, backup=old if path.exists() else None)


def _sets_a_secret(changes: Changes, kinds: Kinds) -> bool:
    """Whether a secret itself comes to stand in the file, and not only where it is."""
    secret = {key.name for key in keys.of_all(kinds) if key.is_secret}
    texts = (
        value
        for name, value in changes.items()
        if name in secret or name.rpartition(".")[2] in KEYS_OF_OTHERS
    )
    return any(isinstance(text, str) and text and not text.startswith(("env:", "file:")) for text in texts)


def changed(path: Path, text: str, changes: Changes) -> str:
    """`text` with the changes; what they do not touch stays as it is, to the letter."""
    document, expected = _document(path, text), files.parse(path, text)
    for name, value in changes.items():
        _put(document, name.split("."), value, name, path)
        _put(expected, name.split("."), value, name, path)
    new = tomlkit.dumps(document)
    # The editing library has had faults with tables out of order; a wrong file must never be written.
    if tomllib.loads(new) != expected:
        raise Internal(
            f"{path}: this change cannot be made without touching other keys; edit the file by hand"
        )
    return new


def _document(path: Path, text: str) -> tomlkit.TOMLDocument:
    files.parse(path, text)
    try:
        return tomlkit.parse(text)
    except TOMLKitError as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}") from exc


def _put(tables: Any, steps: list[str], value: Any, name: str, path: Path) -> None:
    *parents, last = steps
    if not parents or not all(steps):
        raise ConfigError(f"{path}: {name!r} is no key; the form is section.key")
    for step in parents:
        if step not in tables:
            if value is None:
                return
            tables[step] = tomlkit.table() if isinstance(tables, tomlkit.TOMLDocument) else {}
        tables = tables[step]
        if not isinstance(tables, Mapping):
            raise ConfigError(f"{path}: {name}: {step} is a value, not a table")
    if value is not None:
        tables[last] = value
    elif last in tables:
        del tables[last]


def masked_diff(old: str, new: str, kinds: Kinds) -> str:
    """The lines that differ, without the values of secrets."""
    secret = {key.name.rpartition(".")[2] for key in keys.of_all(kinds) if key.is_secret} | _inner_secrets(
        kinds
    )
    hide = re.compile(rf"^(\s*(?:{'|'.join(map(re.escape, sorted(secret)))})\s*=\s*).*$", re.MULTILINE)
    before, after = (hide.sub(r'\1"***"', text).splitlines() for text in (old, new))
    return "\n".join(
        difflib.unified_diff(before, after, "the file now", "the file with your change", lineterm="", n=1)
    )


def _inner_secrets(kinds: Kinds) -> set[str]:
    """Names of secrets in tables of any name, such as the keys of providers."""
    inner = [element for key in keys.of_all(kinds) if keys.is_section(element := keys.element(key.hint))]
    names = {key.field.name for kind in inner for key in keys.leaves("", kind) if key.is_secret}
    return names | {"password", "token", "authorization"}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time, whichever process it is in."""
    folder = path.resolve().parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise _unwritable(path, exc) from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(path: Path, text: str, *, backup: str | None, is_secret: bool = False) -> None:
    closed = OTHERS if is_secret else 0
    try:
        if backup is not None:
            _replace(path.with_name(f"{path.name}.bak"), backup, like=path, closed=closed)
        _replace(path, text, like=path, closed=closed)
    except OSError as exc:
        raise _unwritable(path, exc) from exc


def _unwritable(path: Path, exc: OSError) -> ConfigError:
    return ConfigError(
        f"{path}: cannot be written: {exc.strerror}; change it as its owner, e.g. sudo oqtoctl config set"
    )


def _replace(path: Path, text: str, *, like: Path, closed: int) -> None:
    status = like.stat() if like.exists() else None
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            if status is not None and (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fchmod(file.fileno(), status.st_mode & 0o777 & ~closed if status else 0o600)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:  # Ctrl-C, too: the copy may hold secrets
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
