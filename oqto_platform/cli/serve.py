"""
`oqto serve`: the server with its defaults, one command.

It checks the configuration and the port first, then hands over to Granian.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from pathlib import Path

import click

from oqto_platform import config, slim
from oqto_platform.config import environment
from oqto_platform.config.sections import Server
from oqto_platform.errors import ConfigError, OqtoError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
WORKER_KILL_S = 5


class Root(click.Group):
    """Loads `oqto config` when it is asked for: `serve` has no use for it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "config"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name != "config":
            return super().get_command(ctx, cmd_name)
        from oqto_platform.cli.config import for_oqto

        return for_oqto


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
def root() -> None:
    """Oqto: a self-hosted home for AI coding agents."""


@root.command()
@click.option("--host", default="", help="Address to listen on; default: server.listen, 127.0.0.1.")
@click.option(
    "-p", "--port", type=click.IntRange(1, 65535), default=None, help="Port; default: server.listen, 8080."
)
@click.option("-c", "--config", "config_path", default="", help="The config.toml to read.")
@click.option(
    "--mode", type=click.Choice(["local", "container", "auto"]), default=None, help="Where agents run."
)
@click.option("--local-mode", is_flag=True, help="The same as --mode local.")
@click.option("--single-user", is_flag=True, help="Personal mode: one account, this machine only.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, help="Worker processes.")
@click.option("--open/--no-open", "opens", default=True, help="Open the browser when there is a screen.")
def serve(
    host: str,
    port: int | None,
    config_path: str,
    mode: str | None,
    local_mode: bool,  # noqa: FBT001 (flags of a command)
    single_user: bool,  # noqa: FBT001
    workers: int,
    opens: bool,  # noqa: FBT001
) -> None:
    """Start the server."""
    if config_path:
        os.environ["OQTO_CONFIG"] = config_path
    is_told = bool(host or port)
    host, port = _listen(host, port)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    flags = {
        "OQTO__BACKEND__MODE": mode or ("local" if local_mode else ""),
        "OQTO__LOCAL__SINGLE_USER": "true" if single_user else "",
        "OQTO__SERVER__LISTEN": address if is_told else "",
    }
    told = {name: value for name, value in flags.items() if value}
    os.environ.update(told, **{environment.FLAGS: ",".join(told)})
    if single_user and host not in LOOPBACK:
        raise ConfigError(
            f"--host {host}: personal mode answers on 127.0.0.1 only; leave out --single-user or --host"
        )
    _check_port(host, port)
    os.environ["OQTO_ADDRESS"] = f"http://{host}:{port}"
    _serve(host, port, workers, opens=opens)


@root.command()
def version() -> None:
    """The version of the platform."""
    from importlib.metadata import version as installed

    click.echo(installed("oqto-platform"))


def main() -> None:
    """Exit code 1 with one sentence when the server cannot start."""
    slim.hurry()
    try:
        root(prog_name="oqto")
    except OqtoError as exc:
        click.echo(f"oqto: {exc.detail}", err=True)
        sys.exit(1)


def _listen(host: str, port: int | None) -> tuple[str, int]:
    path = config.locate(os.environ)
    listen = config.peek(path, os.environ, "server", Server).listen
    configured_host, colon, configured_port = listen.rpartition(":")
    if not colon or not configured_port.isdigit() or not 0 < int(configured_port) < 65536:  # noqa: PLR2004
        raise ConfigError(f"[server] listen: {listen!r} is not host:port, such as 127.0.0.1:8080")
    return host or configured_host.strip("[]"), port or int(configured_port)


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {exc.strerror}. Choose another port: oqto serve --port {port + 1}"
                " (with make: make run ARGS='--port …')"
            ) from exc


def _serve(host: str, port: int, workers: int, *, opens: bool) -> None:
    from granian.constants import Interfaces
    from granian.log import LogLevels
    from granian.server import Server as Granian

    from oqto_platform.cli.interrupt import Interrupt
    from oqto_platform.worker import hold_signals

    # Granian puts the current folder first on the import path, whatever is installed.
    os.chdir("/")
    server = Granian(
        "oqto_platform.app:app",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        respawn_failed_workers=False,
        workers_kill_timeout=WORKER_KILL_S,
        log_level=LogLevels.warning,
    )
    if opens and sys.stdout.isatty() and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        _open_browser_later()
    server.main_loop_interrupt = Interrupt()  # type: ignore[assignment]  # all of an event that Granian uses
    hold_signals()
    gc.enable()
    server.serve()


def _open_browser_later() -> None:
    import threading

    threading.Thread(target=_open_browser, daemon=True).start()


def _open_browser() -> None:
    import time
    import urllib.request
    import webbrowser

    from oqto_platform.config.sections import Paths
    from oqto_platform.welcome import FILE

    address = os.environ["OQTO_ADDRESS"]
    for _ in range(100):
        try:
            urllib.request.urlopen(f"{address}/health/ready", timeout=1).close()  # noqa: S310 (our own address)
            break
        except OSError:
            time.sleep(0.1)
    paths = config.peek(config.locate(os.environ), os.environ, "paths", Paths)
    link = Path(paths.state_dir) / FILE
    webbrowser.open(link.read_text().strip() if link.exists() else address)


if __name__ == "__main__":
    main()
