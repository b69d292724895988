"""`oqtoctl eavs`: the proxy's state, keys, usage and providers."""

from __future__ import annotations

import sys
from typing import Any

import click

from oqto_platform.cli.client import call

BASE = "/api/plugins/eavs"


def add_to(group: click.Group) -> None:
    """Add the commands."""
    for command in (status, keys, usage, providers, limit):
        group.add_command(command)


@click.command()
@click.pass_context
def status(ctx: click.Context) -> None:
    """Tell whether the proxy works, and with which providers."""
    found = call(ctx, "GET", f"{BASE}/status")
    click.echo(f"{found['listens']}  pid {found['pid']}  {found['open_calls']} open calls")
    for check in found["checks"]:
        mark = "ok  " if check["ok"] else "FAIL"
        click.echo(
            f"{mark} {check['name']}: {check['detail']}"
            + (f" ({check['repair']})" if check["repair"] else "")
        )


@click.group(invoke_without_command=True)
@click.pass_context
def keys(ctx: click.Context) -> None:
    """List the virtual keys in force."""
    if ctx.invoked_subcommand is not None:
        return
    for key in call(ctx, "GET", f"{BASE}/keys"):
        limit = "no limit" if key["limit_nusd"] is None else f"of ${key['limit_nusd'] / 1e9:.2f}"
        click.echo(f"{key['id']}  {key['session']}  {key['name']}  ${key['spent_nusd'] / 1e9:.4f} {limit}")


@keys.command()
@click.argument("key_id")
@click.pass_context
def revoke(ctx: click.Context, key_id: str) -> None:
    """End the key KEY_ID at once."""
    call(ctx, "DELETE", f"{BASE}/keys/{key_id}")


@click.command()
@click.option("--by", type=click.Choice(["day", "session", "account", "model", "provider"]), default="day")
@click.option("--account", default="", help="Only this account's id.")
@click.pass_context
def usage(ctx: click.Context, by: str, account: str) -> None:
    """Add up what was spent."""
    for row in call(ctx, "GET", f"{BASE}/usage?by={by}&account={account}"):
        tokens = f"{row['input']} in, {row['cache_read']} cached, {row['output']} out"
        click.echo(f"{row['name']:<40} ${row['cost_nusd'] / 1e9:>12.6f}  {row['calls']:>6} calls  {tokens}")


@click.group(invoke_without_command=True)
@click.pass_context
def providers(ctx: click.Context) -> None:
    """List the providers."""
    if ctx.invoked_subcommand is not None:
        return
    for provider in call(ctx, "GET", f"{BASE}/providers"):
        key = "has a key" if provider["has_key"] else "no key"
        click.echo(
            f"{provider['name']:<20} {provider['kind']:<18} {key:<10} {', '.join(provider['models'][:4])}"
        )


@providers.command()
@click.argument("name")
@click.option("--kind", required=True, help="openai, anthropic, google, openrouter, openai-compatible, …")
@click.option("--base-url", default="", help="Where its API is; empty: the vendor's own.")
@click.option("--model", "models", multiple=True, help="A model to offer; may be repeated.")
@click.pass_context
def add(ctx: click.Context, name: str, kind: str, base_url: str, models: tuple[str, ...]) -> None:
    """Add the provider NAME. The key is asked for, or read from standard input; it is tried first."""
    secret = click.prompt("API key", hide_input=True, default="") if sys.stdin.isatty() else sys.stdin.read()
    body: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "base_url": base_url,
        "api_key": secret.strip(),
        "models": list(models),
    }
    added = call(ctx, "POST", f"{BASE}/providers", body)
    click.echo(f"{added['name']} works and offers {len(added['models'])} models")


@providers.command()
@click.argument("name")
@click.pass_context
def remove(ctx: click.Context, name: str) -> None:
    """Forget the provider NAME and its key."""
    call(ctx, "DELETE", f"{BASE}/providers/{name}")


@click.command()
@click.argument("wallet")
@click.argument("usd", type=float)
@click.option("--window", type=click.Choice(["total", "day", "week", "month"]), default="total")
@click.pass_context
def limit(ctx: click.Context, wallet: str, usd: float, window: str) -> None:
    """Let WALLET (platform, account:ID or session:ID) spend USD per window; counts at once."""
    call(ctx, "PUT", f"{BASE}/limits/{wallet}", {"limit_usd": usd, "window": window})
