"""Where the server listens, and where its runner does."""

from __future__ import annotations

import errno
import os
import socket
import struct
from pathlib import Path

from oqto_platform.runners.registry import RunnerAddress
from oqto_platform.types import Check

PROBE_S = 2.0


def port(host: str, number: int) -> Check:
    """Nobody else listens where the server would. Asked only while it does not run."""
    name, where = "port", f"{host}:{number}"
    try:
        family, _, _, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as exc:
        return _failing(name, f"{host} is no address of this machine: {exc.strerror}", "set [server] listen")
    except OSError as exc:
        return _taken(name, where, number, exc)
    return Check(name=name, ok=True, detail=f"{where} is free")


def _taken(name: str, where: str, number: int, exc: OSError) -> Check:
    repair = (
        f"see who it is: ss -ltnp 'sport = :{number}'; end it, or choose another: [server] listen, or --port"
    )
    if exc.errno == errno.EADDRINUSE:
        return _failing(name, f"another program listens on {where}", repair)
    if exc.errno in (errno.EACCES, errno.EPERM):
        repair = "choose a port from 1024 on, with a web server in front for 80 and 443"
        return _failing(name, f"{where} is for root alone", repair)
    return _failing(name, f"{where}: {exc.strerror}", "set [server] listen to an address of this machine")


def admin_socket(path: str, fallback: Path) -> Check:
    """The socket of `oqtoctl` can be made where it is configured."""
    name = "admin socket"
    if not path:
        return Check(name=name, ok=True, detail="none: [server] admin_socket_path is empty")
    parent = Path(path).parent
    if parent.is_dir() and os.access(parent, os.W_OK):
        return Check(name=name, ok=True, detail=path)
    if not parent.exists() and os.access(_nearest(parent), os.W_OK):
        return Check(name=name, ok=True, detail=f"{path}; its folder will be made")
    return Check(name=name, ok=True, detail=f"{fallback} instead of {path}, whose folder cannot be written")


def runner_socket(address: RunnerAddress) -> Check:
    """The runner that others start listens where it is looked for, and is whose it must be."""
    name, path = "runner socket", address.socket
    user = address.principal.name
    repair = (
        f"start it: systemctl enable --now oqto-runner@{user}.socket; or mend [local] runner_socket_pattern; "
        "or let the server start one for you alone: oqto serve --single-user"
    )
    if not Path(path).exists():
        return _failing(name, f"{path} does not exist", repair)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(path)
        except OSError as exc:
            return _failing(name, f"nobody answers on {path}: {exc.strerror or exc}", repair)
        raw = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid = int(struct.unpack("3i", raw)[1])
    if uid not in (address.uid, 0):
        return _failing(
            name, f"uid {uid} answers on {path}, not {user} (uid {address.uid})", f"end it, then {repair}"
        )
    return Check(name=name, ok=True, detail=f"{path}, answered by uid {uid}")


def _nearest(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def _failing(name: str, detail: str, repair: str) -> Check:
    return Check(name=name, ok=False, detail=detail, repair=repair)
