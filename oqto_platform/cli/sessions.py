"""`oqtoctl session`: live sessions of everybody."""

from __future__ import annotations

import json

import click

from oqto_platform.cli.client import call


@click.group()
def session() -> None:
    """Live sessions of everybody."""


@session.command("list")
@click.pass_context
def list_sessions(ctx: click.Context) -> None:
    """Id, state, harness and workspace of every live session."""
    found = call(ctx, "GET", "/api/admin/sessions")
    if ctx.obj["json"]:
        click.echo(json.dumps(found))
        return
    for line in found:
        click.echo(f"{line['id']}  {line['state']:<9} {line['harness']:<9} {line['workspace']}")


@session.command()
@click.argument("session_id")
@click.pass_context
def stop(ctx: click.Context, session_id: str) -> None:
    """End the agent of a session and settle its money."""
    view = call(ctx, "POST", f"/api/sessions/{session_id}/stop")
    click.echo(json.dumps(view) if ctx.obj["json"] else f"{view['id']} is {view['state']}")
