"""`oqtoctl config`: which file, is it right, what holds."""

from __future__ import annotations

import os
from typing import Any

import click
import msgspec
import tomlkit

from oqto_platform import config as configuration
from oqto_platform.config.sections import CORE, Plugins
from oqto_platform.hooks import Hooks
from oqto_platform.settings import Secret, Settings


@click.group()
def config() -> None:
    """The configuration."""


@config.command()
@click.pass_context
def path(ctx: click.Context) -> None:
    """The file that is read."""
    click.echo(configuration.locate(os.environ, ctx.obj["config"]) or "no file; built-in defaults hold")


@config.command()
@click.pass_context
def check(ctx: click.Context) -> None:
    """Is the file right? Exit code 1 and the reason when it is not."""
    click.echo(f"{_load(ctx).source}: valid")


@config.command()
@click.pass_context
def show(ctx: click.Context) -> None:
    """Every value that holds; secrets are hidden."""
    settings = _load(ctx)
    values = {name: _plain(settings.any_section(name)) for name in settings.names()}
    click.echo(msgspec.json.encode(values).decode() if ctx.obj["json"] else tomlkit.dumps(values).rstrip())


def _load(ctx: click.Context) -> Settings:
    found = configuration.locate(os.environ, ctx.obj["config"])
    chosen = configuration.peek(found, os.environ, "plugins", Plugins)
    hooks = Hooks.load("core", disabled=chosen.disabled, only=chosen.only)
    return configuration.load(found, os.environ, kinds=CORE | hooks.register_all("register_config"))


def _plain(value: Any) -> Any:
    def hide(other: Any) -> Any:
        return "***" if isinstance(other, Secret) and other else ""

    return _without_none(msgspec.to_builtins(value, enc_hook=hide))


def _without_none(value: Any) -> Any:
    """TOML has no null: what is not set is left out."""
    if isinstance(value, dict):
        return {name: _without_none(inner) for name, inner in value.items() if inner is not None}
    return value
