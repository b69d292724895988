"""Rules about the plugin's section of the configuration."""

from __future__ import annotations

import os
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from oqto_platform import config
from oqto_platform.config.sections import CORE
from oqto_platform.errors import ConfigError
from oqto_platform.hooks import Hooks
from oqto_platform.settings import Section, Settings
from oqto_platform.testing.inspection import Report

FUTURE = "key_of_the_future"


def settings_for(report: Report, hooks: Hooks, values: Mapping[str, Any]) -> Settings | None:
    """The snapshot with `values` in the plugin's section; checks the section on the way."""
    kinds: dict[str, type[Section]] = hooks.register_all("register_config")
    _check(report, kinds)
    overrides = {f"{report.plugin}.{key}": value for key, value in values.items()}
    try:
        return config.load(None, _home(), kinds=CORE | kinds, overrides=overrides)
    except ConfigError as exc:
        report.say("section", f"the settings of the contract class are wrong: {exc.detail}")
        return None


def _check(report: Report, kinds: dict[str, type[Section]]) -> None:
    if (kind := kinds.get(report.plugin)) is None:
        return
    for key in _undescribed(kind, report.plugin):
        report.say("section", f'the key {key} has no description: Annotated[…, key("What it means.")]')
    try:
        config.load(None, _home(), kinds=CORE | kinds)
    except ConfigError as exc:
        report.say("section", f"the defaults are not valid: {exc.detail}")
        return
    if not _refuses_unknown(kind, report.plugin):
        report.say("section", f"[{report.plugin}] takes unknown keys; derive it from oqto_platform.Section")


def _undescribed(kind: type[Section], where: str) -> Iterator[str]:
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        bare = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
        metas = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
        if not any(meta.description for meta in metas):
            yield f"{where}.{name}"
        if isinstance(bare, type) and issubclass(bare, Section):
            yield from _undescribed(bare, f"{where}.{name}")


def _home() -> dict[str, str]:
    """All that the core's own defaults need of the environment."""
    return {"HOME": os.environ["HOME"]}


def _refuses_unknown(kind: type[Section], name: str) -> bool:
    try:
        config.load(None, _home(), kinds=CORE | {name: kind}, overrides={f"{name}.{FUTURE}": 1})
    except ConfigError:
        return True
    return False
