"""
`oqtoctl`: everything an admin does, over the admin socket, without a token.

`--help` must be quick: nothing but click is imported until a command runs.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

COMMANDS = {
    "status": ("oqto_platform.cli.status", "status", "Is the server well? One line per check."),
    "plugins": (
        "oqto_platform.cli.plugins",
        "plugins",
        "Installed plugins: list, show, check, disable, enable, reset.",
    ),
    "session": ("oqto_platform.cli.sessions", "session", "Live sessions of everybody: list, stop."),
    "config": ("oqto_platform.cli.config", "config", "The configuration: check, edit, set, show, status."),
    "doctor": (
        "oqto_platform.cli.doctor",
        "doctor",
        "Can this machine run the server? Names what repairs it.",
    ),
    "audit": ("oqto_platform.cli.audit", "audit", "The audit log: verify, tail, query, export."),
    "hash-password": ("oqto_platform.cli.passwords", "hash_password", "The argon2id hash of a password."),
    "setup-link": ("oqto_platform.cli.status", "setup_link", "The link that makes the first account."),
}


_AS_PROGRAM = object()
"""Only a process of its own may set logging up."""


class Root(click.Group):
    """Finds commands by name, and a plugin's group by the plugin's name, when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module, attribute, _ = COMMANDS[cmd_name]
            command: click.Command = getattr(import_module(module), attribute)
            return command
        return plugin_group(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in sorted(COMMANDS.items())])
        if names := plugin_names():
            with formatter.section("Commands of plugins, where they have any"):
                formatter.write_dl([(name, f"see oqtoctl {name} --help") for name in names])


def plugin_names() -> list[str]:
    """
    The installed plugins of the core side, as `importlib.metadata` would name them.

    Read by hand because that module and its scan take 60 ms, a third of `--help`; whoever asks for the
    commands of one plugin goes through it.
    """
    files = (file for folder in sys.path for file in Path(folder).glob("*.dist-info/entry_points.txt"))
    return sorted({name for file in files for name in _names_in(file.read_text(), "[oqto.core]")})


def _names_in(entry_points_txt: str, section: str) -> list[str]:
    _, _, rest = f"\n{entry_points_txt}".partition(f"\n{section}\n")
    lines = rest.partition("\n[")[0].splitlines()
    return [line.partition("=")[0].strip() for line in lines if "=" in line]


def plugin_group(name: str) -> click.Command | None:
    """The commands of an installed plugin; `None` when there is no such plugin or it has none."""
    from importlib.metadata import entry_points

    entry = next((entry for entry in entry_points(group="oqto.core") if entry.name == name), None)
    if entry is None:
        return None
    group = click.Group(name, help=f"Commands of the plugin {name}.")
    try:
        register: Any = getattr(entry.load(), "register_commands", None)
        if register is not None:
            register(group)
    except (Exception, SystemExit) as exc:  # a plugin's module may raise anything while it is imported
        from oqto_platform.hooks.failures import Origin, load_error

        raise load_error(
            Origin.of(entry), f"its commands cannot be had: {type(exc).__name__}: {exc}"
        ) from exc
    return group if register is not None else None


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-s", "--server", envvar="OQTO_SERVER_URL", default="", help="Talk to this server over HTTP instead."
)
@click.option("--admin-socket", envvar="OQTO_ADMIN_SOCKET", default="", help="The server's admin socket.")
@click.option(
    "-c", "--config", "config_path", envvar="OQTO_CONFIG", default="", help="The server's config.toml."
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.pass_context
def root(ctx: click.Context, server: str, admin_socket: str, config_path: str, as_json: bool) -> None:  # noqa: FBT001
    """Administer an Oqto server."""
    if ctx.obj is _AS_PROGRAM:
        _warn_on_stderr()
    ctx.obj = {"server": server, "admin_socket": admin_socket, "config": config_path, "json": as_json}


def _warn_on_stderr() -> None:
    """What plugins are warned of while a command loads them has no place among its answers."""
    from oqto_platform import logs

    logs.set_up("warn", out=sys.stderr)


def main() -> None:
    """Exit codes: 0 done, 1 refused, 2 usage, 3 unreachable, 4 internal."""
    try:
        root(prog_name="oqtoctl", obj=_AS_PROGRAM)
    except Exception as exc:  # a command may raise anything; what is not ours keeps its traceback
        _explain(exc)
        raise


def _explain(exc: Exception) -> None:
    """End with one sentence when it is an error of ours. Imported here: `--help` has none."""
    from oqto_platform.errors import OqtoError, RunnerUnavailable

    if not isinstance(exc, OqtoError):
        return
    click.echo(f"oqtoctl: {exc.detail}", err=True)
    if isinstance(exc, RunnerUnavailable):
        sys.exit(3)
    sys.exit(4 if exc.code == "internal" else 1)
