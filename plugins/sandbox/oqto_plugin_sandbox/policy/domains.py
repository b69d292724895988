"""Names an agent may reach: `api.example.org`, `*.example.org` (subdomains only), each perhaps with `:port`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

_NAME = re.compile(
    r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
)
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*")
DEFAULT_PORTS = (80, 443)
MAX_PORT = 65535


def normal_host(text: str) -> str:
    """A host name in the one spelling that is compared. Raises `ValueError` for everything else."""
    name = text.lower().removesuffix(".")
    if not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError as exc:
            raise ValueError("it is not a host name") from exc
    if not _NAME.fullmatch(name):
        raise ValueError("it is not a host name")
    return name


def normal_pattern(text: str) -> str:
    """A pattern in its normal spelling. Raises `ValueError` with the reason."""
    if "/" in text or "@" in text:
        raise ValueError("write a host name, not an address of a page")
    name, port = _split(text.strip())
    if name.startswith("*."):
        if "." not in name[2:].strip("."):
            raise ValueError("it covers a whole top-level domain")
        return f"*.{normal_host(name[2:])}{port}"
    if "*" in name:
        raise ValueError("'*' is only possible as the first label: *.example.org")
    return normal_address(name) + port


def normal_address(name: str) -> str:
    """A host name, or an IPv4 address that is spelled in the usual way."""
    if _NUMERIC.fullmatch(name.lower()):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError as exc:
            raise ValueError("it is not an IPv4 address in the usual spelling") from exc
    return normal_host(name)


def _split(text: str) -> tuple[str, str]:
    name, colon, port = text.rpartition(":")
    if not colon:
        return text, ""
    if not port.isascii() or not port.isdigit() or not 0 < int(port) <= MAX_PORT:
        raise ValueError("the port has to be a number from 1 to 65535")
    return name, f":{int(port)}"


def matches(pattern: str, host: str, port: int) -> bool:
    """Whether a normal pattern covers a normal host and port. Without a port it covers 80 and 443."""
    name, colon, number = pattern.rpartition(":")
    if not colon:
        name = pattern
    if (port != int(number)) if colon else (port not in DEFAULT_PORTS):
        return False
    return host.endswith(name[1:]) if name.startswith("*.") else host == name


def denies(pattern: str, host: str, port: int) -> bool:
    """Whether a normal pattern of a deny list covers a host. Without a port it covers every port."""
    name, number = _split(pattern)
    return (not number or int(number[1:]) == port) and (
        host.endswith(name[1:]) if name[0] == "*" else host == name
    )


def common(left: Iterable[str], right: Iterable[str]) -> tuple[str, ...]:
    """The patterns that describe what both lists cover."""
    right = list(right)
    both = (_meet(a, b) for a in left for b in right)
    return outermost({pattern for pattern in both if pattern})


def outermost(patterns: Iterable[str]) -> tuple[str, ...]:
    """Sorted, without those that another one covers."""
    found = set(patterns)
    return tuple(sorted(p for p in found if not any(_meet(p, other) == p for other in found - {p})))


def _meet(a: str, b: str) -> str:
    name_a, port_a = _split(a)
    name_b, port_b = _split(b)
    name, port = _meet_names(name_a, name_b), _meet_ports(port_a, port_b)
    return f"{name}{port}" if name and port is not None else ""


def _meet_names(a: str, b: str) -> str:
    for narrow, wide in ((a, b), (b, a)):
        if narrow == wide:
            return narrow
        if wide.startswith("*.") and narrow.removeprefix("*.").endswith(wide[1:]):
            return narrow
    return ""


def _meet_ports(a: str, b: str) -> str | None:
    if a == b:
        return a
    if a and b:
        return None
    stated = a or b
    return stated if int(stated[1:]) in DEFAULT_PORTS else None
