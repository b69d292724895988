"""Which spellings of a path a policy file may use, and how they compare."""

from __future__ import annotations

import re
from collections.abc import Iterable

from oqto_plugin_sandbox.plan.model import is_within

_UNREAL = ("/proc", "/sys", "/dev")


def absolute(text: str, home: str, *, relative_to: str = "", may_be_glob: bool = False) -> str:
    """
    The path without `~`. `relative_to` allows relative spellings. Raises `ValueError` with the reason.

    `home` is the home directory from the account database, never `$HOME`.
    """
    if reason := _bad_spelling(text):
        raise ValueError(reason)
    path = _rooted(text, home, relative_to)
    if path.startswith("//"):
        raise ValueError("it begins with two slashes")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError("it contains '..'")
    path = "/" + "/".join(parts)
    if any(is_within(path, place) for place in _UNREAL):
        raise ValueError("/proc, /sys and /dev belong to the kernel")
    if re.search(r"[*?\[]", path) and not may_be_glob:
        raise ValueError("patterns are only possible in deny_read and deny_write")
    if re.search(r"[*?\[]", parts[0] if parts else ""):
        raise ValueError("the first folder of a pattern has to be a name")
    return path


def not_root(path: str) -> str:
    """The path, unless it is `/`: nothing may allow the whole machine. Raises `ValueError`."""
    if path == "/":
        raise ValueError("'/' is the whole machine")
    return path


def _bad_spelling(text: str) -> str:
    if not text:
        return "it is empty"
    if "\0" in text or "\n" in text:
        return "it contains a zero byte or a line break"
    if "$" in text:
        return "variables are not expanded; write ~ or an absolute path"
    if text.startswith("~") and text != "~" and not text.startswith("~/"):
        return "only ~ and ~/… are known, not other people's homes"
    return ""


def _rooted(text: str, home: str, relative_to: str) -> str:
    if text.startswith("/"):
        return text
    if text.startswith("~"):
        return home + text[1:]
    if not relative_to:
        raise ValueError("it is relative; write ~/… or an absolute path")
    return f"{relative_to}/{text}"


def outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Sorted, without those that lie in another one of them."""
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not any(is_within(path, other) for other in kept):
            kept.append(path)
    return tuple(kept)


def common(left: Iterable[str], right: Iterable[str]) -> tuple[str, ...]:
    """What both lists cover: the deeper of every pair of which one contains the other."""
    right = list(right)
    pairs = ((a, b) for a in left for b in right)
    deeper = (a if is_within(a, b) else b for a, b in pairs if is_within(a, b) or is_within(b, a))
    return outermost(deeper)
