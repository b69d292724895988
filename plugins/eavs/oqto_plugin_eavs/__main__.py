"""`oqto-eavs`: the LLM proxy as a program of its own."""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path

from oqto_platform import slim

with slim.without("greenlet", "rich"):
    import structlog as _structlog  # noqa: F401 (loaded here, where its companions are out of reach)

from oqto_platform import logs
from oqto_platform.errors import OqtoError

DEFAULT_LISTEN = "127.0.0.1:41800"
GC_THRESHOLD = 50_000
"""Objects between collections: a call makes a few hundred, nearly all freed by their counts."""


def main(arguments: list[str] | None = None) -> int:
    """Serve; answers the exit code (2: it could not start)."""
    slim.hurry()
    asked = _parser().parse_args(arguments)
    logs.set_up("info")
    try:
        return int(asked.run(asked))
    except OqtoError as exc:
        print(f"oqto-eavs: {exc.detail}", file=sys.stderr)  # noqa: T201 a program talks to its terminal
        return 2


def _serve(asked: argparse.Namespace) -> int:
    import uvloop

    from .daemon import serve
    from .place import Place

    host, _, port = asked.listen.rpartition(":")
    state = Path(asked.state_dir).expanduser().absolute()
    data = Path(asked.data_dir).expanduser().absolute() if asked.data_dir else state
    place = Place(
        state=state,
        data=data,
        host=host.strip("[]"),
        port=int(port),
        llm_mode=int(asked.llm_socket_mode, 8),
        ca_file=asked.ca_file,
        is_durable=not asked.fast_unsafe,
        workers=asked.workers,
    )
    _tune()
    uvloop.run(serve(place))
    return 0


def _work(asked: argparse.Namespace) -> int:
    import uvloop

    from .worker import work

    _tune()
    uvloop.run(work(Path(asked.till), [int(handle) for handle in asked.listeners.split(",")], asked.ca_file))
    return 0


def _tune() -> None:
    gc.freeze()
    gc.enable()
    gc.set_threshold(GC_THRESHOLD)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="oqto-eavs", description="The LLM proxy of Oqto.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the proxy until SIGTERM")
    serve.add_argument("--state-dir", required=True, help="folder of the sockets llm.sock and control.sock")
    serve.add_argument("--data-dir", default="", help="folder of the ledger (default: the state folder)")
    serve.add_argument(
        "--listen", default=DEFAULT_LISTEN, metavar="HOST:PORT", help=f"default {DEFAULT_LISTEN}"
    )
    serve.add_argument(
        "--llm-socket-mode", default="600", metavar="OCTAL", help="who may use llm.sock (default 600)"
    )
    serve.add_argument(
        "--ca-file", default="", help="certificates to trust for providers instead of the system's"
    )
    serve.add_argument(
        "--fast-unsafe", action="store_true", help="do not wait for the disk: a power cut may lose rows"
    )
    serve.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes that relay; above 1 beside the one that keeps the ledger",
    )
    serve.set_defaults(run=_serve)
    work = commands.add_parser(
        "work", help="relay calls for a proxy that was started with --workers; it does this"
    )
    work.add_argument("--till", required=True, help="socket of the ledger's owner")
    work.add_argument("--listeners", required=True, help="numbers of inherited listening sockets")
    work.add_argument("--ca-file", default="", help="as for serve")
    work.set_defaults(run=_work)
    return parser


if __name__ == "__main__":
    sys.exit(main())
