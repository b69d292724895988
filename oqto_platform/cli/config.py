"""`oqtoctl config` and `oqto config`: which file, is it right, what holds and why, and changing it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import click
import tomlkit

from oqto_platform import absent, contributions
from oqto_platform import config as configuration
from oqto_platform.config import edit, files, keys, view
from oqto_platform.config.environment import value as as_value
from oqto_platform.config.keys import Kinds
from oqto_platform.config.nearest import nearest
from oqto_platform.config.sections import Plugins
from oqto_platform.errors import ConfigError, Conflict, Invalid
from oqto_platform.hooks import Hooks
from oqto_platform.settings import Settings


@click.group()
def config() -> None:
    """The configuration."""


@config.command()
@click.pass_context
def path(ctx: click.Context) -> None:
    """The file that is read."""
    click.echo(_found(ctx) or "no file; built-in defaults hold")


@config.command()
@click.pass_context
def check(ctx: click.Context) -> None:
    """Is the file right? Exit code 1 and the reason when it is not."""
    click.echo(f"{_load(ctx).source}: valid")


@config.command()
@click.option("--restart", "only_restart", is_flag=True, help="Only keys whose change waits for a restart.")
@click.pass_context
def show(ctx: click.Context, only_restart: bool) -> None:  # noqa: FBT001 (a flag of a command)
    """Every value that a start would take, and where it comes from. Secrets are hidden."""
    settings = _load(ctx)
    found = [key for key in view.views(_kinds(ctx), settings, settings) if key.restart or not only_restart]
    if ctx.obj["json"]:
        click.echo(json.dumps(_as_json(settings, found)))
        return
    click.echo(tomlkit.dumps(_document(found)).rstrip())


@config.command()
@click.pass_context
def schema(ctx: click.Context) -> None:
    """The JSON Schema of config.toml, for editors."""
    from oqto_platform.config.schema import schema as of

    click.echo(json.dumps(of(_kinds(ctx)), indent=2))


@config.command()
@click.option("--force", is_flag=True, help="Replace the file that is there; a backup is kept.")
@click.pass_context
def init(ctx: click.Context, force: bool) -> None:  # noqa: FBT001
    """Write a config.toml with every key, its meaning and its default, all commented out."""
    from oqto_platform.config.example import example

    target = Path(ctx.obj["config"] or os.environ.get("OQTO_CONFIG") or files.usual_places(os.environ)[0])
    target = target / "config.toml" if target.is_dir() else target
    if target.exists() and not force:
        raise Conflict(f"{target} exists already; look at it, or replace it with --force")
    edit.replace(target, example(_kinds(ctx)), seen=edit.revision(edit.text_of(target)))
    click.echo(f"{target}: written; every key is there, commented out")


@config.command("set")
@click.argument("key")
@click.argument("value")
@click.pass_context
def set_key(ctx: click.Context, key: str, value: str) -> None:
    """
    Set KEY (section.key) to VALUE. Checked before it is written; comments stay.

    A secret is env:NAME or file:PATH, or - to be asked for it.
    """
    if _is_secret(_kinds(ctx), key):
        value = _secret(key, value)
    _change(ctx, key, _typed(_kinds(ctx), key, value))


@config.command()
@click.argument("key")
@click.pass_context
def unset(ctx: click.Context, key: str) -> None:
    """Remove KEY (section.key) from the file: its default holds."""
    if not _change(ctx, key, None):
        _must_be_known(_kinds(ctx), key)


@config.command("edit")
@click.pass_context
def edit_file(ctx: click.Context) -> None:
    """Open the file in $VISUAL or $EDITOR. What you save is checked before it takes the place of the old."""
    target = _target(ctx)
    old = edit.text_of(target)
    text: str | None = old
    while True:
        text = click.edit(text, extension=".toml")
        if text is None or text == old:
            click.echo("nothing changed")
            return
        try:
            _checked(ctx, target, text)
            break
        except ConfigError as exc:
            click.echo(exc.detail, err=True)
            if not click.confirm("Edit it again? (no: your text is kept beside it)", default=True, err=True):
                raise ConfigError(f"{target} is as it was; {_kept(target, text)}") from exc
    _replace(target, old, text)
    click.echo(f"{target}: written")


@config.command()
@click.pass_context
def status(ctx: click.Context) -> None:
    """What the running server took, refused, and what waits for a restart. Exit code 1 after a refusal."""
    from oqto_platform.cli.client import call

    _tell(ctx, call(ctx, "GET", "/api/settings/status"))


@click.group("config")
@click.option(
    "-c", "--config", "config_path", envvar="OQTO_CONFIG", default="", help="The config.toml to use."
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.pass_context
def for_oqto(ctx: click.Context, config_path: str, as_json: bool) -> None:  # noqa: FBT001
    """The configuration. The running server's state: oqtoctl config status."""
    ctx.obj = {"config": config_path, "json": as_json}


@config.command("reload")
@click.pass_context
def reload_now(ctx: click.Context) -> None:
    """Let the running server read the files now. It does so by itself when they change. Exit code as of status."""
    from oqto_platform.cli.client import call

    _tell(ctx, call(ctx, "POST", "/api/settings/reload"))


def _tell(ctx: click.Context, found: dict[str, Any]) -> None:
    click.echo(json.dumps(found) if ctx.obj["json"] else "\n".join(_status_lines(found)))
    sys.exit(1 if found["error"] or not found["is_agreed"] else 0)


def _status_lines(found: dict[str, Any]) -> list[str]:
    lines = [
        f"{found['source']}: holds, taken {_at(found['loaded_at'])} by {len(found['workers'])} worker(s)"
    ]
    if found["error"]:
        lines.append(f"REFUSED {_at(found['error_at'])}: {found['error']}")
        lines.append("what held before holds on; mend the file and it is taken at once")
    for waiting in found["pending"]:
        now, later = view.shown(waiting["running"]), view.shown(waiting["wanted"])
        lines.append(f"waits for a restart: {waiting['key']} = {later} (running: {now})")
    if not found["is_agreed"]:
        lines += [
            f"worker {one['pid']} holds {one['digest'] or 'the defaults'}{': ' + one['error'] if one['error'] else ''}"
            for one in found["workers"]
        ]
    return lines


def _at(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def _found(ctx: click.Context) -> Path | None:
    return configuration.locate(os.environ, ctx.obj["config"])


def _target(ctx: click.Context) -> Path:
    """The file to write: the one that is read, else the person's own."""
    return _found(ctx) or files.usual_places(os.environ)[0]


def _kinds(ctx: click.Context) -> Kinds:
    """Every section, those of the plugins included; read once per command."""
    if "kinds" not in ctx.obj:
        path = _readable(ctx)
        chosen = configuration.glimpse(path, os.environ, "plugins", Plugins)
        hooks = Hooks.load("core", disabled=chosen.disabled, only=chosen.only)
        ctx.obj["kinds"] = contributions.sections(hooks)
        ctx.obj["read"] = contributions.sections(hooks, absent.names(path, os.environ))
    found: Kinds = ctx.obj["kinds"]
    return found


def _read_kinds(ctx: click.Context) -> Kinds:
    """The same, with the sections of plugins that are not loaded: those may stand in a file."""
    _kinds(ctx)
    found: Kinds = ctx.obj["read"]
    return found


def _readable(ctx: click.Context) -> Path | None:
    """The file for finding out which plugins there are; `init` needs none."""
    try:
        return _found(ctx)
    except ConfigError:
        if ctx.info_name == "init":
            return None
        raise


def _load(ctx: click.Context) -> Settings:
    found = _found(ctx)
    return configuration.load(found, os.environ, kinds=_read_kinds(ctx), owner=_owner(found))


def _owner(found: Path | None) -> int | None:
    """Whose file it must be: ours; root looks at the files of the account that runs the server."""
    if found is None or os.geteuid() != 0:
        return os.geteuid()
    return found.stat().st_uid


def _checked(ctx: click.Context, target: Path, text: str) -> Settings:
    return configuration.load(target, os.environ, kinds=_read_kinds(ctx), text=text)


def _is_secret(kinds: Kinds, key: str) -> bool:
    last = key.rpartition(".")[2]
    return any(known.is_secret and known.name == key for known in keys.of_all(kinds)) or last == "api_key"


def _secret(key: str, value: str) -> str:
    """A secret must not stand on the command line, where every account of the machine can read it."""
    if value.startswith(("env:", "file:")):
        return value
    if value != "-":
        raise Invalid(
            f"{key} is a secret, which must not stand on a command line: give env:NAME, file:PATH or -"
        )
    return str(click.prompt(key, hide_input=True, err=True))


def _typed(kinds: Kinds, key: str, text: str) -> Any:
    section, _, rest = key.partition(".")
    if section not in kinds or not rest:
        raise _no_such_key(kinds, key)
    return as_value(text, kinds[section], rest.split("."))


def _must_be_known(kinds: Kinds, key: str) -> None:
    section, _, rest = key.partition(".")
    if section not in kinds or rest.split(".")[0] not in keys.hints(kinds[section]):
        raise _no_such_key(kinds, key)


def _no_such_key(kinds: Kinds, key: str) -> Invalid:
    return Invalid(f"{key!r}: no such key{nearest(key, [known.name for known in keys.of_all(kinds)])}")


def _change(ctx: click.Context, key: str, value: Any) -> bool:
    """Whether the file is another now."""
    target, kinds = _target(ctx), _kinds(ctx)
    is_new = edit.change(target, {key: value}, kinds=kinds, check=lambda text: _checked(ctx, target, text))
    settings = configuration.load(target, os.environ, kinds=_read_kinds(ctx))
    origin = settings.origins.get(key, "")
    found = next((known for known in keys.of_all(kinds) if known.name == key), None)
    words = "written" if is_new else "nothing to change"
    if is_new and found is not None:
        words += "; takes effect at the next start" if found.restart else "; takes effect now"
    click.echo(f"{target}: {words}")
    if origin not in ("", str(target)):
        click.echo(f"but {origin} sets {key} too, and wins", err=True)
    return is_new


def _replace(target: Path, old: str, text: str) -> None:
    try:
        edit.replace(target, text, seen=edit.revision(old))
    except Conflict as exc:
        raise Conflict(f"{exc.detail}; {_kept(target, text)}") from exc


def _kept(target: Path, text: str) -> str:
    """Put a text that cannot take the place of the file beside it; where it is, as the end of a sentence."""
    kept = target.with_name(f"{target.name}.mine")
    edit.replace(kept, text, seen=edit.revision(edit.text_of(kept)))
    return f"your text is in {kept}: diff {target} {kept}"


def _as_json(settings: Settings, found: list[view.KeyView]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key in found:
        section, *parents, last = key.name.split(".")
        table = values.setdefault(section, {})
        for step in parents:
            table = table.setdefault(step, {})
        table[last] = key.value
    origins = {key.name: key.origin for key in found}
    return {"source": settings.source, "values": values, "origins": origins}


def _document(found: list[view.KeyView]) -> tomlkit.TOMLDocument:
    document = tomlkit.document()
    for key in found:
        *parents, last = key.name.split(".")
        table: Any = document
        for step in parents:
            table = table.setdefault(step, tomlkit.table())
        if key.value is None:
            table.add(tomlkit.comment(f"{last} is unset"))
            continue
        item = tomlkit.item(view.without_none(key.value))
        table.add(last, item)
        if not isinstance(key.value, dict):
            item.comment(key.origin)
    return document


for _name in ("path", "check", "show", "schema", "init", "set", "unset", "edit"):
    for_oqto.add_command(config.commands[_name])
