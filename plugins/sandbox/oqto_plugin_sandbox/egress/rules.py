"""Which names and addresses the proxy reaches. The name is judged first, then every address it resolves to."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TypeAlias

import msgspec

from oqto_plugin_sandbox.policy import domains
from oqto_plugin_sandbox.policy.model import Network

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*", re.IGNORECASE)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_INTERNET = ipaddress.IPv6Network("2000::/3")
"""All that was ever given out of IPv6; the rest are old ways to write IPv4, local networks, and the unknown."""

_NEIGHBOURS = tuple(
    map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "3fff::/20"))
)
"""Public by number alone: Oracle's and Azure's services for their machines, relays, examples of documentation."""

_ISATAP = (0x00005EFE, 0x02005EFE)
"""What stands before the IPv4 address in the lower half of an IPv6 one (RFC 5214)."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the proxy did with one request, and by which rule."""

    host: str
    port: int
    is_allowed: bool
    rule: str


def decide(network: Network, host: str, port: int) -> Decision:
    """Judge a name before it is resolved."""
    try:
        name = domains.normal_address(host)
    except ValueError as exc:
        return Decision(host=host[:255], port=port, is_allowed=False, rule=f"not a host name: {exc}")
    allowed, rule = _judge(network, name, port)
    return Decision(host=name, port=port, is_allowed=allowed, rule=rule)


def _judge(network: Network, name: str, port: int) -> tuple[bool, str]:
    for pattern in network.deny_domains:
        if domains.denies(pattern, name, port):
            return False, f"network.deny_domains: {pattern}"
    for pattern in network.allow_domains or ():
        if domains.matches(pattern, name, port):
            return True, f"network.allow_domains: {pattern}"
    if network.allow_domains is not None:
        return False, "network.allow_domains does not list it"
    if _NUMERIC.fullmatch(name):
        return False, "an address instead of a name; list it in network.allow_domains"
    if port not in domains.DEFAULT_PORTS:
        return False, "a port other than 80 and 443; list it in network.allow_domains"
    return True, "network.mode = proxy without network.allow_domains"


def is_public(text: str) -> bool:
    """Whether an address lies on the open internet: not here, not in the LAN, no cloud metadata, no disguise."""
    address = ipaddress.ip_address(text.split("%", maxsplit=1)[0])
    embedded = _embedded(address)
    if embedded is not None:
        return is_public(str(embedded))
    is_near = any(address in network for network in _NEIGHBOURS) or not _is_of_internet(address)
    return address.is_global and not address.is_multicast and not is_near and not _is_own(str(address))


def _is_of_internet(address: Address) -> bool:
    return isinstance(address, ipaddress.IPv4Address) or address in _INTERNET


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside an IPv6 one, in the spellings that routers translate."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64 or int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def _is_own(text: str) -> bool:
    """Only an address of this machine can be bound."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((text, 0))
    except OSError:
        return False
    return True
