"""Compares passwords with those of a htpasswd file: bcrypt, sha256-crypt, sha512-crypt, apr1 and {SHA}, never plain text."""

from __future__ import annotations

import threading
from pathlib import Path

from passlib.apache import HtpasswdFile
from passlib.context import CryptContext

HASHES = CryptContext(["bcrypt", "sha256_crypt", "sha512_crypt", "apr_md5_crypt", "ldap_sha1"])
MAX_CHARS = 1024
_lock = threading.Lock()
_known: tuple[tuple[str, int, int], HtpasswdFile] | None = None


def is_right(path: str, name: str, password: str) -> bool:
    """
    Whether the file knows this name with this password. A name that it does not know takes as long.

    The time depends on the kind of hash: a stand-in is compared that has the kind of the file's first entry.
    """
    file = _loaded(path)
    if file is None or len(password) > MAX_CHARS or ":" in name:
        return False
    stored = file.get_hash(name)
    found = stored if stored is not None else _stand_in(file)
    is_match = bool(found) and HASHES.identify(found) is not None and HASHES.verify(password, found)
    return is_match and stored is not None


def problem_of(path: str) -> str:
    """Why nobody can sign in with this file, or an empty text."""
    file = _loaded(path)
    if file is None:
        return f"{path} cannot be read"
    strange = [name for name in file.users() if HASHES.identify(file.get_hash(name)) is None]
    return f"{path}: the hash of {', '.join(strange)} is of no kind that is taken" if strange else ""


def _loaded(path: str) -> HtpasswdFile | None:
    """The file as it is now; parsed again when it has changed."""
    global _known  # noqa: PLW0603 (a cache of one)
    try:
        stat = Path(path).stat()
        mark = (path, stat.st_mtime_ns, stat.st_size)
        with _lock:
            if _known is None or _known[0] != mark:
                _known = (mark, HtpasswdFile.from_string(Path(path).read_bytes(), context=HASHES))
            return _known[1]
    except (OSError, ValueError):
        return None


def _stand_in(file: HtpasswdFile) -> bytes | None:
    names = file.users()
    return file.get_hash(names[0]) if names else None
