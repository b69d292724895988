"""`oqtoctl plugins`: what is installed, and switching it off and on."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from oqto_platform import absent
from oqto_platform import config as configuration
from oqto_platform.audit import AuditLog
from oqto_platform.audit.events import PluginSwitched
from oqto_platform.audit.place import configured
from oqto_platform.cli.client import call, is_running
from oqto_platform.cli.new import new
from oqto_platform.config.edit import edited
from oqto_platform.config.expand import xdg
from oqto_platform.config.sections import Paths, Plugins
from oqto_platform.errors import NotFound
from oqto_platform.hooks import Side, installed, installed_names

SIDES: tuple[Side, ...] = ("core", "runner")


@click.group(invoke_without_command=True)
@click.pass_context
def plugins(ctx: click.Context) -> None:
    """Installed plugins."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_plugins)


plugins.add_command(new)


@plugins.command("list")
@click.pass_context
def list_plugins(ctx: click.Context) -> None:
    """Name, side, version, hooks and health of every installed plugin."""
    lines = [*_merged(ctx), *_gone(ctx)]
    if ctx.obj["json"]:
        click.echo(json.dumps(lines))
        return
    for line in lines:
        click.echo(
            f"{line['name']:<16} {line['side']:<7} {line['distribution']} {line['version']}  {line['state']}"
        )
        if line["hooks"]:
            click.echo(f"{'':<25}{', '.join(line['hooks'])}")


@plugins.command()
@click.argument("name")
@click.pass_context
def show(ctx: click.Context, name: str) -> None:
    """What the plugin NAME may do: hooks, settings, routes, tables, jobs, panels, folders."""
    from oqto_platform.cli.offline import Offline

    _known(name)
    found = Offline(configuration.locate(os.environ, ctx.obj["config"])).privileges(name)
    shown = [msgspec.to_builtins(one) for one in found]
    if ctx.obj["json"]:
        click.echo(json.dumps({"name": name, "sides": shown, "counts": _counts(ctx, name)}))
        return
    entry = next(entry for side in SIDES for entry in installed(side) if entry.name == name)
    click.echo(f"{name}: {entry.dist.name} {entry.dist.version}" if entry.dist else name)
    for side in shown:
        click.echo(f"{side.pop('side')} side")
        for what, lines in side.items():
            for number, line in enumerate(lines):
                click.echo(f"  {what if number == 0 else '':<10} {line}")
    for count in _counts(ctx, name):
        click.echo(_counted(count))


@plugins.command()
@click.argument("name", required=False, default="")
@click.pass_context
def check(ctx: click.Context, name: str) -> None:
    """Would the server start with the installed plugins, or with NAME alone? Exit code 1 when not, or when one is not well."""
    from oqto_platform.cli.offline import Offline

    if name:
        _known(name)
    path = configuration.locate(os.environ, ctx.obj["config"])
    problems = Offline(path, only=[name] if name else []).problems()
    problems += [
        f"{line['name']} ({line['side']}): {line['state']}" for line in _merged(ctx) if _is_unwell(line, name)
    ]
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        ctx.exit(1)
    click.echo(
        "well"
        if is_running(ctx)
        else "nothing hinders a start; no server runs that could be asked how they are"
    )


@plugins.command()
@click.argument("name")
@click.pass_context
def reset(ctx: click.Context, name: str) -> None:
    """Call the plugin NAME again that the server switched off because it kept failing."""
    done = call(ctx, "POST", f"/api/admin/plugins/{name}/reset")
    hooks = [f"{hook} ({side})" for side in SIDES for hook in done[side]]
    click.echo(f"{name} is called again: {', '.join(hooks)}" if hooks else f"{name} was not switched off")
    if done["unreached"]:
        click.echo(f"not everywhere: {done['unreached']}", err=True)
        ctx.exit(3)


@plugins.command()
@click.argument("name")
@click.pass_context
def disable(ctx: click.Context, name: str) -> None:
    """Do not load the plugin NAME from the next start on."""
    _known(name)
    _record(ctx, PluginSwitched(actor=_user(), target=name, state="off"))
    _edit(ctx, lambda names: sorted({*names, name}))
    click.echo(f"{name} is off from the next start on")


@plugins.command()
@click.argument("name")
@click.pass_context
def enable(ctx: click.Context, name: str) -> None:
    """Load the plugin NAME again from the next start on."""
    is_idle = name in absent.idle_words(_disabled(ctx))
    if not is_idle:
        _known(name)
    _record(ctx, PluginSwitched(actor=_user(), target=name, state="on"))
    _edit(ctx, lambda names: [other for other in names if other != name])
    click.echo(
        f"{name} is not disabled any more, and not installed"
        if is_idle
        else f"{name} is on from the next start on"
    )


def _merged(ctx: click.Context) -> list[dict[str, Any]]:
    """What is installed here, with what the running server says of it."""
    disabled = _disabled(ctx)
    running = {(info["name"], info["side"]): info for info in _running(ctx)}
    lines = []
    for side in SIDES:
        for entry in installed(side):
            info = running.get((entry.name, side), {})
            state = "disabled" if entry.name in disabled else info.get("state", "not running")
            lines.append(
                {
                    "name": entry.name,
                    "side": side,
                    "distribution": entry.dist.name if entry.dist else "",
                    "version": entry.dist.version if entry.dist else "",
                    "hooks": list(info.get("hooks", [])),
                    "state": state,
                }
            )
    return lines


def _disabled(ctx: click.Context) -> tuple[str, ...]:
    path = configuration.locate(os.environ, ctx.obj["config"])
    return configuration.peek(path, os.environ, "plugins", Plugins).disabled


def _running(ctx: click.Context) -> list[dict[str, Any]]:
    if not is_running(ctx):
        return []
    failing = {
        check["name"].split(".")[0]: check
        for check in call(ctx, "GET", "/api/admin/health")
        if not check["ok"]
    }
    counts = call(ctx, "GET", "/api/admin/hooks")
    infos: list[dict[str, Any]] = call(ctx, "GET", "/api/plugins")
    for info in infos:
        check = failing.get(info["name"])
        off = [one["hook"] for one in counts if one["is_off"] and _is_of(one, info)]
        unwell = f"failing: {check['detail']}" if check else "healthy"
        info["state"] = f"failing, switched off: {', '.join(off)}" if off else unwell
    return infos


def _is_of(count: dict[str, Any], info: dict[str, Any]) -> bool:
    return (count["plugin"], count["side"]) == (info["name"], info["side"])


def _is_unwell(line: dict[str, Any], name: str) -> bool:
    return line["state"].startswith("failing") and (not name or line["name"] == name)


def _gone(ctx: click.Context) -> list[dict[str, Any]]:
    """Plugins that are not installed any more and left data behind."""
    path = configuration.locate(os.environ, ctx.obj["config"])
    paths = configuration.peek(path, os.environ, "paths", Paths)
    found = absent.left_behind(Path(paths.data_dir), Path(paths.state_dir))
    return [
        {
            "name": one.name,
            "side": "-",
            "distribution": one.distribution,
            "version": one.version,
            "hooks": [],
            "state": f"uninstalled; left behind: {one.summary}",
        }
        for one in found
    ]


def _counts(ctx: click.Context, name: str) -> list[dict[str, Any]]:
    """How the plugin's hooks did in the running server."""
    if not is_running(ctx):
        return []
    return [count for count in call(ctx, "GET", "/api/admin/hooks") if count["plugin"] == name]


def _counted(count: dict[str, Any]) -> str:
    off = f", switched off: {count['last_failure']}" if count["is_off"] else ""
    return f"  {count['side']:<7} {count['hook']:<20} {count['calls']} calls, {count['failures']} failed, {count['mean_ms']} ms each{off}"


def _known(name: str) -> None:
    names = installed_names()
    if name not in names:
        raise NotFound(f"no plugin {name!r} is installed; there are: {', '.join(sorted(names))}")


def _record(ctx: click.Context, event: PluginSwitched) -> None:
    """Into the log of this machine's server; where none ever ran there is nothing to write to."""
    path, seal = configured(os.environ, ctx.obj["config"])
    if seal.parent.is_dir():
        AuditLog(path, seal)(event)


def _user() -> str:
    """Who is at the terminal; behind sudo, who typed it."""
    return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name


def _edit(ctx: click.Context, change: Callable[[list[str]], list[str]]) -> None:
    path = configuration.locate(os.environ, ctx.obj["config"])
    path = path or Path(xdg("XDG_CONFIG_HOME", os.environ)) / "oqto" / "config.toml"
    with edited(path) as document:
        section = document.setdefault("plugins", {})
        section["disabled"] = change(list(section.get("disabled", [])))
