"""`oqto-runner`: one per Linux user, the only process that starts agents."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from oqto_platform.slim import hurry, without, without_tls

with without("bz2", "greenlet", "lzma", "rich", "typing_extensions"), without_tls():
    # Loaded here, where their optional companions are out of reach.
    import msgspec as _msgspec  # noqa: F401
    import structlog as _structlog  # noqa: F401
    import uvloop

LEVELS = ("debug", "info", "warning", "error")


def main(argv: list[str] | None = None) -> int:
    """Run the daemon; 0 after an orderly end, 1 with a sentence on stderr when it cannot start."""
    hurry()
    arguments = _parser().parse_args(argv)

    from oqto_platform import logs
    from oqto_platform.errors import OqtoError

    logs.set_up(arguments.log_level)
    try:
        uvloop.run(_serve(arguments))
    except OqtoError as exc:
        sys.stderr.write(f"oqto-runner: {exc.detail}\n")
        return 1
    return 0


async def _serve(arguments: argparse.Namespace) -> None:
    from oqto_platform.config import locate
    from oqto_runner import listen
    from oqto_runner.daemon import Options

    options = Options(
        socket=arguments.socket or listen.default_path(),
        state_dir=arguments.state_dir,
        runner_id=arguments.runner_id,
        allowed_uids=frozenset(arguments.allow_uid),
        idle_exit_s=arguments.idle_exit_s,
        config=locate(os.environ, arguments.config),
        disabled=tuple(arguments.disable_plugin),
        only=tuple(arguments.only_plugin),
    )
    await serve(options)


async def serve(options: object) -> None:
    """Run a daemon with `options` on its inherited or own socket; removes the own one at the end."""
    from oqto_runner import listen
    from oqto_runner.daemon import Daemon, Options

    assert isinstance(options, Options)
    daemon = Daemon(options)
    if (listener := listen.inherited()) is not None:
        await daemon.run(listener)
        return
    listener = listen.own(options.socket, is_shared=bool(options.allowed_uids))
    try:
        await daemon.run(listener)
    finally:
        options.socket.unlink(missing_ok=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="oqto-runner", description=__doc__)
    add = parser.add_argument
    add("--socket", type=Path, help="Unix socket to listen on (default: $XDG_RUNTIME_DIR/oqto-runner.sock)")
    add(
        "--state-dir",
        type=Path,
        default=_default_state_dir(),
        help="event logs and agent homes (default: %(default)s)",
    )
    add("--config", default="", help="config.toml (default: $OQTO_CONFIG, then ~/.config/oqto/config.toml)")
    add(
        "--runner-id",
        default="",
        help="name of this runner in events (default: [runner] runner_id, then the host's)",
    )
    add(
        "--allow-uid",
        type=int,
        action="append",
        default=[],
        metavar="UID",
        help="a uid that may connect, besides this one and root",
    )
    add(
        "--idle-exit-s",
        type=float,
        default=0.0,
        metavar="N",
        help="end when nothing runs and nobody is connected for N seconds; 0: never",
    )
    add("--disable-plugin", action="append", default=[], metavar="NAME", help="do not load this plugin")
    add(
        "--only-plugin",
        action="append",
        default=_env_plugins(),
        metavar="NAME",
        help="load only the plugins named so",
    )
    add("--log-level", choices=LEVELS, default="info", help="OQTO_LOG and RUST_LOG win over it")
    return parser


def _default_state_dir() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "oqto" / "runner"


def _env_plugins() -> list[str]:
    return [name for name in os.environ.get("OQTO_PLUGINS", "").split(",") if name]


if __name__ == "__main__":
    sys.exit(main())
