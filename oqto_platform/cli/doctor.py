"""`oqtoctl doctor`: can this machine run the server, and if not, what repairs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import msgspec

from oqto_platform import config
from oqto_platform.cli.client import ServerUnreachable, call, socket_path
from oqto_platform.cli.offline import Offline
from oqto_platform.doctor.examine import examine
from oqto_platform.errors import ConfigError, OqtoError
from oqto_platform.types import Check


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:  # noqa: FBT001
    """
    Look at everything the server needs: files, disk, ports, plugins, sandbox, models.

    Works whether it runs or not, and changes nothing. Exit code 1 when a check fails.
    """
    checks = examine(os.environ, ctx.obj["config"], lambda: _server(ctx), lambda: _problems(ctx))
    failing = [check for check in checks if not check.ok]
    if as_json or ctx.obj["json"]:
        click.echo(msgspec.json.encode(checks))
    else:
        for check in checks:
            click.echo(_line(check))
        click.echo(f"\n{len(failing)} of {len(checks)} checks fail" if failing else "\neverything is well")
    sys.exit(1 if failing else 0)


def _line(check: Check) -> str:
    repair = f"\n        → {check.repair}" if check.repair and not check.ok else ""
    return f"{'ok     ' if check.ok else 'FAILING'} {check.name}: {check.detail}{repair}"


def _server(ctx: click.Context) -> list[Check] | None:
    if not ctx.obj["server"] and not socket_path(ctx.obj).is_socket():
        return None
    try:
        return msgspec.convert(call(ctx, "GET", "/api/admin/health"), list[Check])
    except ServerUnreachable:
        return None
    except OqtoError as exc:
        repair = "see the log of the server"
        return [Check(name="health of the server", ok=False, detail=exc.detail, repair=repair)]


def _problems(ctx: click.Context) -> list[str]:
    only = tuple(name for name in os.environ.get("OQTO_PLUGINS", "").split(",") if name)
    try:
        path: Path | None = config.locate(os.environ, ctx.obj["config"])
        return Offline(path, only).problems()
    except ConfigError:
        return []  # told under `config`
