"""How `oqtoctl` talks to the server: its admin socket, or HTTP with a bearer token."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import httpx
import msgspec

from oqto_platform import config
from oqto_platform.config.sections import Paths, Server
from oqto_platform.errors import Internal, OqtoError, Problem, RunnerUnavailable, from_problem

TIMEOUT_S = 30.0


class ServerUnreachable(RunnerUnavailable):
    """Nobody answers where the server should be."""

    code, title = "server-unreachable", "Server unreachable"


def call(ctx: click.Context, method: str, path: str, body: Any = None) -> Any:
    """One request; the JSON of the answer. Problems are raised as the errors they are."""
    with _client(ctx.obj) as client:
        try:
            response = client.request(method, path, json=body)
        except httpx.HTTPError as exc:
            raise ServerUnreachable(
                f"no Oqto server answers on {_where(ctx.obj)}: {exc}; is it running?"
            ) from exc
    if response.is_success:
        return response.json() if response.content else None
    raise _error(response)


def is_running(ctx: click.Context) -> bool:
    """Whether a server answers."""
    try:
        call(ctx, "GET", "/health/live")
    except OqtoError:
        return False
    return True


def socket_path(options: dict[str, Any]) -> Path:
    """The admin socket: flag or `OQTO_ADMIN_SOCKET`, the configured one, the fallback in the state folder."""
    if options["admin_socket"]:
        return Path(options["admin_socket"])
    path = config.locate(os.environ, options["config"])
    configured = Path(config.glimpse(path, os.environ, "server", Server).admin_socket_path)
    fallback = Path(config.glimpse(path, os.environ, "paths", Paths).state_dir) / "oqtoctl.sock"
    return fallback if not configured.is_socket() and fallback.is_socket() else configured


def _client(options: dict[str, Any]) -> httpx.Client:
    if options["server"]:
        token = os.environ.get("OQTO_AUTH_TOKEN", "")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        base = options["server"].rstrip("/").removesuffix("/api")
        return httpx.Client(base_url=base, headers=headers, timeout=TIMEOUT_S)
    transport = httpx.HTTPTransport(uds=str(socket_path(options)))
    return httpx.Client(base_url="http://localhost", transport=transport, timeout=TIMEOUT_S)


def _where(options: dict[str, Any]) -> str:
    return str(options["server"] or socket_path(options))


def _error(response: httpx.Response) -> OqtoError:
    try:
        return from_problem(msgspec.json.decode(response.content, type=Problem))
    except msgspec.DecodeError:
        return Internal(f"the server answered {response.status_code} without saying why")
