"""`oqtoctl eavs`: the proxy's state, keys, usage and providers."""

from __future__ import annotations

import math
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from oqto_platform.cli.client import call

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = "/api/plugins/eavs"
BY = ["day", "session", "workspace", "account", "key", "model", "provider"]
WINDOW = click.Choice(["total", "day", "week", "month"])
RATES = {
    "rpm": "Calls per minute; 0: no limit.",
    "tpm": "Tokens per minute; 0: no limit.",
    "rpd": "Calls per day (UTC); 0: no limit.",
    "concurrent": "Calls at the same time; 0: no limit.",
}


class _Amount(click.types.FloatParamType):
    """A number from 0 on; click itself lets `nan` pass."""

    most = sys.float_info.max

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        return number if 0 <= number <= self.most else self.fail(f"{value} is no amount.", param, ctx)


class _Limit(_Amount):
    most = math.inf


class _Count(click.types.IntParamType):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number: int = super().convert(value, param, ctx)
        return number if number >= 0 else self.fail(f"{value} is no count.", param, ctx)


class _Name(click.ParamType[str]):
    """What stands as one part of an address."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value and "/" not in value and value.strip(".") == value:
            return quote(value)
        return self.fail(f"{value!r} is no name.", param, ctx)


def _rate_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, words in reversed(RATES.items()):
        command = click.option(f"--{name}", type=_Count(), help=words)(command)
    return command


def add_to(group: click.Group) -> None:
    """Add the commands."""
    for command in (status, keys, wallets, usage, providers, limit, members, alerts):
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
        click.echo(
            f"{key['id']:<24} {key['owner']:<36} {key['name']:<16} ${key['spent_nusd'] / 1e9:.4f} {limit}"
        )


@keys.command()
@click.argument("owner")
@click.option("--name", default="", help="What it is for.")
@click.option("--days", type=_Amount(), help="How long it works.")
@click.option("--usd", type=_Amount(), help="A budget of its own inside the owner's.")
@click.option("--window", type=WINDOW, default="total", help="When that budget opens again.")
@click.option("--model", "models", multiple=True, help="A pattern of models it may call; may be repeated.")
@click.option("--block", "blocked", multiple=True, help="A pattern of models it may not call.")
@click.option("--provider", "providers", multiple=True, help="A provider it may use; may be repeated.")
@_rate_options
@click.pass_context
def create(
    ctx: click.Context,
    /,
    owner: str,
    days: float | None,
    usd: float | None,
    models: tuple[str, ...],
    blocked: tuple[str, ...],
    providers: tuple[str, ...],
    **more: Any,
) -> None:
    """Make a key for OWNER: platform, group:NAME, account:ID or workspace:ACCOUNT:PATH. It is shown this once."""
    rates = _rates(more) or {}
    grants = {"models": models, "blocked_models": blocked, "providers": providers, "rates": rates}
    body = {
        "owner": owner,
        "name": more["name"],
        "limit_usd": usd,
        "window": more["window"],
        "grants": grants,
    }
    body["expires_at"] = None if days is None else time.time() + days * 86_400
    _show(call(ctx, "POST", f"{BASE}/keys", body))


@keys.command()
@click.argument("key_id", type=_Name())
@click.option("--grace-hours", type=_Amount(), default=0.0, help="How long the old secret still works.")
@click.pass_context
def rotate(ctx: click.Context, key_id: str, grace_hours: float) -> None:
    """Put a new secret in the place of KEY_ID's. It is shown this once."""
    _show(call(ctx, "POST", f"{BASE}/keys/{key_id}/rotate", {"grace_s": grace_hours * 3_600}))


@keys.command()
@click.argument("key_id", type=_Name())
@click.pass_context
def revoke(ctx: click.Context, key_id: str) -> None:
    """End the key KEY_ID at once."""
    call(ctx, "DELETE", f"{BASE}/keys/{key_id}")


@click.command()
@click.option("--by", type=click.Choice(BY), default="day")
@click.option("--account", default="", help="Only this account's id.")
@click.option("--days", type=_Amount(), help="Only the last so many days.")
@click.option("--csv", "as_csv", is_flag=True, help="As a file for a spreadsheet.")
@click.pass_context
def usage(ctx: click.Context, by: str, account: str, days: float | None, *, as_csv: bool) -> None:
    """Add up what was spent."""
    since = 0.0 if days is None else time.time() - days * 86_400
    rows = call(ctx, "GET", f"{BASE}/usage?by={by}&account={quote(account)}&since={max(since, 0)}")
    if as_csv:
        from .control import Row
        from .reports import to_csv

        click.echo(to_csv(by, [Row(**row) for row in rows]), nl=False)
        return
    for row in rows:
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
@click.option("--alias", "aliases", multiple=True, metavar="ALIAS=MODEL", help="Another name of a model.")
@click.option("--allow", "allow_models", multiple=True, help="A pattern of models that may be used.")
@click.option("--deny", "deny_models", multiple=True, help="A pattern of models that may not be used.")
@click.option("--fallback", multiple=True, metavar="NAME[/MODEL]", help="Who answers when this one cannot.")
@click.option(
    "--key-file", type=click.Path(), help="Read the key from this file at each use, and store only its path."
)
@click.option(
    "--key-env", metavar="NAME", help="Take the key from this variable of the server's environment."
)
@click.pass_context
def add(
    ctx: click.Context,
    /,
    name: str,
    kind: str,
    base_url: str,
    models: tuple[str, ...],
    aliases: tuple[str, ...],
    key_file: str | None,
    key_env: str | None,
    **lists: tuple[str, ...],
) -> None:
    """Add the provider NAME. The key is asked for, or read from standard input; it is tried first."""
    if key_file and key_env:
        raise click.UsageError("Use --key-file or --key-env, not both.")
    elsewhere = f"file:{Path(key_file).absolute()}" if key_file else f"env:{key_env}" if key_env else ""
    body: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "base_url": base_url,
        "api_key": elsewhere or _secret().strip(),
        "models": list(models),
        "aliases": dict(alias.partition("=")[::2] for alias in aliases),
        **{field: list(values) for field, values in lists.items()},
    }
    added = call(ctx, "POST", f"{BASE}/providers", body)
    click.echo(f"{added['name']} works and offers {len(added['models'])} models")


@providers.command()
@click.argument("name", type=_Name())
@click.pass_context
def remove(ctx: click.Context, name: str) -> None:
    """Forget the provider NAME and its key."""
    call(ctx, "DELETE", f"{BASE}/providers/{name}")


@click.command()
@click.argument("wallet")
@click.argument("usd", type=_Limit())
@click.option("--window", type=WINDOW, default="total")
@_rate_options
@click.pass_context
def limit(ctx: click.Context, /, wallet: str, usd: float, window: str, **rates: Any) -> None:
    """
    Let WALLET spend USD per window (inf: without limit); counts at once.

    WALLET is platform, group:NAME, account:ID, workspace:ACCOUNT:PATH, session:ID or key:ID.
    """
    body = {"limit_usd": None if math.isinf(usd) else usd, "window": window, "rates": _rates(rates)}
    call(ctx, "PUT", f"{BASE}/limits/{quote(wallet, safe='')}", body)


@click.command("group")
@click.argument("name", type=_Name())
@click.argument("accounts", nargs=-1)
@click.pass_context
def members(ctx: click.Context, name: str, accounts: tuple[str, ...]) -> None:
    """Put exactly ACCOUNTS (ids, or names) into the group NAME; limit it with: limit group:NAME."""
    for wallet in call(ctx, "PUT", f"{BASE}/groups/{name}", {"accounts": list(accounts)}):
        click.echo(f"{wallet['id']}  {wallet['name']}")


@click.command()
@click.option("--account", default="", help="Those of this account's id, its sessions included.")
@click.pass_context
def wallets(ctx: click.Context, account: str) -> None:
    """List who may spend what."""
    for wallet in call(ctx, "GET", f"{BASE}/wallets?account={quote(account)}"):
        limit = "no limit" if wallet["limit_nusd"] is None else f"${wallet['limit_nusd'] / 1e9:.2f}"
        spent = f"${wallet['spent_nusd'] / 1e9:.4f} of {limit} ({wallet['window']})"
        rates = ", ".join(f"{name} {value}" for name, value in wallet["rates"].items() if value)
        click.echo(f"{wallet['id']:<44} {spent:<36} {rates}".rstrip())


@click.command()
@click.option("--account", default="", help="Only this account's id.")
@click.pass_context
def alerts(ctx: click.Context, account: str) -> None:
    """List which wallets have run low."""
    for alert in call(ctx, "GET", f"{BASE}/alerts?account={quote(account)}"):
        when = datetime.fromtimestamp(alert["at"]).astimezone().isoformat(timespec="seconds")
        click.echo(f"{when}  {alert['percent']:>3} %  {alert['wallet']}  of ${alert['limit_nusd'] / 1e9:.2f}")


def _secret() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.read()
    return str(click.prompt("API key", hide_input=True, default=""))


def _rates(options: dict[str, Any]) -> dict[str, int] | None:
    given = {name: options[name] for name in RATES if options.get(name) is not None}
    return given or None


def _show(created: dict[str, Any]) -> None:
    click.echo(created["secret"])
    click.echo(f"{created['key']['id']} is this key's name; the line above is shown only now", err=True)
