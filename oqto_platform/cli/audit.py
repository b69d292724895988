"""`oqtoctl audit`: is the audit log whole?"""

from __future__ import annotations

import os
from pathlib import Path

import click

from oqto_platform import config
from oqto_platform.audit import verify as verify_file
from oqto_platform.config.sections import Logging, Paths
from oqto_platform.errors import Conflict, NotFound


@click.group()
def audit() -> None:
    """The audit log."""


@audit.command()
@click.option("--file", "file", default="", help="Another file than the configured one.")
@click.pass_context
def verify(ctx: click.Context, file: str) -> None:
    """Does every line carry the hash of the line before it?"""
    path = Path(file) if file else _configured(ctx)
    if not path.is_file():
        raise NotFound(f"there is no audit log at {path}")
    try:
        count = verify_file(path)
    except ValueError as exc:
        raise Conflict(str(exc)) from exc
    click.echo(f"{path}: {count} records, unbroken")


def _configured(ctx: click.Context) -> Path:
    path = config.locate(os.environ, ctx.obj["config"])
    logging = config.peek(path, os.environ, "logging", Logging)
    paths = config.peek(path, os.environ, "paths", Paths)
    return Path(logging.audit_file) if logging.audit_file else Path(paths.state_dir) / "audit.log.jsonl"
