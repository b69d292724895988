"""`oqto-sandbox`: run a command as an agent would run, ask why something is denied, check the machine."""

# ruff: noqa: PTH109 - paths are compared and passed on as text, exactly as the kernel sees them

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from oqto_platform.errors import Invalid, OqtoError
from oqto_platform.types import SpawnPlan
from oqto_plugin_sandbox import launch
from oqto_plugin_sandbox.channels import Channels, hold_places
from oqto_plugin_sandbox.checks import all_checks
from oqto_plugin_sandbox.egress.rules import Decision
from oqto_plugin_sandbox.explain import Answer, explain_host, explain_path
from oqto_plugin_sandbox.policy.load import SYSTEM_FILES, load
from oqto_plugin_sandbox.runner import owner
from oqto_plugin_sandbox.sandboxes import Sandboxes
from oqto_plugin_sandbox.signals import Signals

T = TypeVar("T")
REFUSED = 125
DEFAULT_FILE = """\
# What agents may do on this machine. A workspace can add restrictions in .oqto/sandbox.toml, never rights.
enabled = true
profile = "development"   # minimal, development, strict
deny_read = ["~/.ssh", "~/.aws", "~/.gnupg"]

[network]
mode = "proxy"            # open, proxy, isolated
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run commands in Oqto's sandbox, and explain it."""


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--env", "names", multiple=True, metavar="NAME", help="Pass this variable on; may be repeated.")
@click.option(
    "--read", "readable", multiple=True, type=click.Path(exists=True), help="Show this path, read-only."
)
def run(command: tuple[str, ...], names: tuple[str, ...], readable: tuple[str, ...]) -> None:
    """Run COMMAND in the sandbox of the current folder. Its output and exit code pass through."""
    env = {name: os.environ[name] for name in (*names, "TERM", "LANG", "COLORTERM") if name in os.environ}

    def work() -> int:
        hold_places()
        spawn = SpawnPlan(argv=command, cwd=_here(), env=env, readable=tuple(map(os.path.abspath, readable)))
        return asyncio.run(_run(spawn))

    sys.exit(_guarded(work))


@main.command()
@click.argument("target", metavar="PATH|HOST")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def explain(target: str, as_json: bool) -> None:  # noqa: FBT001 - click passes options so
    """
    Tell what an agent in the current folder finds at PATH or HOST, and which rule says so.

    A name without a slash that is no file here is taken for a host; write ./NAME for one that is still to be made.
    """
    answer = _guarded(lambda: _explain(target))
    click.echo(msgspec.json.encode(answer).decode() if as_json else answer.sentence)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def check(as_json: bool) -> None:  # noqa: FBT001
    """Check what confinement needs on this machine. Exit code 1 when agents would be refused."""
    checks = _guarded(lambda: all_checks(owner(), _here()))
    if as_json:
        click.echo(msgspec.json.encode(checks).decode())
    for line in [] if as_json else checks:
        mark = "ok  " if line.ok else "FAIL"
        click.echo(f"{mark}  {line.name}: {line.detail}")
        if line.repair and (not line.ok or "partial" in line.detail or "CVE" in line.detail):
            click.echo(f"      repair: {line.repair}")
    sys.exit(0 if all(line.ok for line in checks) else 1)


@main.command()
def policy() -> None:
    """Print the policy that holds in the current folder, as JSON."""
    found = _guarded(lambda: load(owner(), launch.real_workspace(_here())))
    click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())


@main.command()
def init() -> None:
    """Write a policy for a machine with several people to /etc/oqto/sandbox.toml (as root)."""
    file = Path(SYSTEM_FILES[0])
    try:
        file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with file.open("x") as new:
            new.write(DEFAULT_FILE)
        file.chmod(0o644)
    except FileExistsError:
        raise click.ClickException(f"{file} exists already; edit it instead") from None
    except PermissionError:
        raise click.ClickException(f"only root may write {file}. Repair: sudo oqto-sandbox init") from None
    click.echo(f"wrote {file}")


def _explain(target: str) -> Answer:
    if not target.isprintable() or not target.strip():
        raise Invalid(f"{target!r} is neither a path nor a host")
    who, workspace = owner(), launch.real_workspace(_here())
    found = load(who, workspace)
    if "/" in target or target.startswith(("~", ".")) or os.path.lexists(target):
        return explain_path(found, workspace, target, who)
    return explain_host(found, target)


def _here() -> str:
    try:
        return os.getcwd()
    except OSError as exc:
        raise Invalid("the current folder is not there any more; enter another one") from exc


async def _run(spawn: SpawnPlan) -> int:
    with tempfile.TemporaryDirectory(prefix="oqto-") as state_dir:
        sandboxes = Sandboxes(owner(), Path(state_dir), lambda _, decision: _tell(decision))
        try:
            return await _supervised(sandboxes, spawn)
        finally:
            await sandboxes.close()


async def _supervised(sandboxes: Sandboxes, spawn: SpawnPlan) -> int:
    signals = Signals()  # before there is a command that could tell somebody that it is ready for them
    confined = await sandboxes.confine(f"run-{os.getpid()}", spawn.cwd, spawn)
    channels = Channels()
    try:
        if number := signals.first():
            return 128 + number
        process = await asyncio.create_subprocess_exec(
            *confined.argv, env=dict(confined.env), cwd=confined.cwd, pass_fds=confined.fds,
            stdin=channels.input, stdout=channels.output, stderr=channels.errors,
        )  # fmt: skip
    finally:
        channels.started()
        for fd in confined.fds:
            os.close(fd)
    passing = asyncio.create_task(signals.pass_on(process.pid, is_launcher=confined.argv != spawn.argv))
    code = await process.wait()
    passing.cancel()
    await asyncio.to_thread(channels.finish)
    return code if code >= 0 else 128 - code


def _tell(decision: Decision) -> None:
    if not decision.is_allowed:
        click.echo(
            f"oqto-sandbox: network denied: {decision.host}:{decision.port}: {decision.rule}", err=True
        )


def _guarded(work: Callable[[], T]) -> T:
    """The answer, or the refusal in words on stderr."""
    try:
        return work()
    except OqtoError as exc:
        click.echo(f"oqto-sandbox: {exc.detail}", err=True)
        sys.exit(REFUSED)


if __name__ == "__main__":
    main()
