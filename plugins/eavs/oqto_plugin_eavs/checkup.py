"""What `oqtoctl doctor` wants to know while no server runs: is the port free, and has each provider its key."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from oqto_platform.config.sections import Paths
from oqto_platform.errors import OqtoError
from oqto_platform.peers import listener_pid
from oqto_platform.types import Check

from . import core, elsewhere
from .config import Eavs

if TYPE_CHECKING:
    from oqto_platform.settings import Settings

    from .providers import Provider


def all_checks(settings: Settings) -> list[Check]:
    """Every check, whatever the others say."""
    eavs = settings.section("eavs", Eavs)
    if not eavs.enabled:
        return [Check(name="LLM proxy", ok=True, detail="off: agents get no models through it")]
    if elsewhere.is_meant(eavs):
        return [_elsewhere(eavs)]
    state_dir = Path(settings.section("paths", Paths).state_dir) / "eavs"
    checks = [port(*core.address_of(eavs), state_dir / "control.sock")]
    for name, entry in eavs.providers.items():
        try:
            checks.append(provider_check(core.provider_of(name, entry)))
        except OqtoError as exc:
            checks.append(_failing(name, exc.detail, f"mend [eavs.providers.{name}], or what it names"))
    return checks


def _elsewhere(eavs: Eavs) -> Check:
    try:
        elsewhere.check(eavs)
    except OqtoError as exc:
        return Check(
            name="LLM proxy elsewhere", ok=False, detail=exc.detail, repair="mend the section [eavs]"
        )
    return Check(name="LLM proxy elsewhere", ok=True, detail=eavs.base_url)


def port(host: str, number: int, control_socket: Path) -> Check:
    """Nobody else listens where the proxy would; one that outlived its server may."""
    name, where = "port of the LLM proxy", f"{host}:{number}"
    if (pid := listener_pid(str(control_socket))) is not None:
        return Check(name=name, ok=True, detail=f"{where}, served by the proxy that runs (pid {pid})")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, number))
    except OSError as exc:
        taken = "another program listens there" if exc.errno == errno.EADDRINUSE else exc.strerror
        repair = f"see who it is: ss -ltnp 'sport = :{number}'; end it, or set another [eavs] base_url"
        return Check(name=name, ok=False, detail=f"{where}: {taken}", repair=repair)
    return Check(name=name, ok=True, detail=f"{where} is free")


def provider_check(provider: Provider) -> Check:
    """Whether a provider could be asked, as far as its settings tell. Raises `Invalid` where they are wrong."""
    checked = provider.checked()
    needs_key = checked.about.auth != "none" and checked.kind != "openai-compatible" and not checked.is_demo
    if needs_key and not checked.key():
        return _failing(
            provider.name, "it has no API key", f"set api_key under [eavs.providers.{provider.name}]"
        )
    return Check(name=f"provider {provider.name}", ok=True, detail=checked.base_url or checked.about.base_url)


def _failing(provider: str, detail: str, repair: str) -> Check:
    return Check(name=f"provider {provider}", ok=False, detail=detail, repair=repair)
