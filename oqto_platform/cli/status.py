"""`oqtoctl status` and `oqtoctl setup-link`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from oqto_platform import config
from oqto_platform.cli.client import call
from oqto_platform.config.sections import Paths
from oqto_platform.errors import NotFound
from oqto_platform.welcome import FILE


@click.command()
@click.pass_context
def status(ctx: click.Context) -> None:
    """Is the server well? Exit code 1 when a check fails."""
    checks = call(ctx, "GET", "/api/admin/health")
    if ctx.obj["json"]:
        click.echo(json.dumps(checks))
    for check in [] if ctx.obj["json"] else checks:
        repair = f" — {check['repair']}" if check["repair"] and not check["ok"] else ""
        click.echo(f"{'ok     ' if check['ok'] else 'FAILING'} {check['name']}: {check['detail']}{repair}")
    sys.exit(0 if all(check["ok"] for check in checks) else 1)


@click.command("setup-link")
@click.pass_context
def setup_link(ctx: click.Context) -> None:
    """The link that makes the first account, while there is none."""
    paths = config.peek(config.locate(os.environ, ctx.obj["config"]), os.environ, "paths", Paths)
    try:
        click.echo((Path(paths.state_dir) / FILE).read_text().strip())
    except FileNotFoundError as exc:
        raise NotFound("there is no set-up link: an account exists already, or the server never ran") from exc
