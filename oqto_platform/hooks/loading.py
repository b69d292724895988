"""What is refused when a plugin is loaded, in words for its author."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, get_args

import structlog

from oqto_platform.hooks.failures import Origin
from oqto_platform.hooks.spec import PROJECT, Mode, Policy, Side, arguments_of

log = structlog.get_logger("oqto.plugins")


class PluginDeprecationWarning(DeprecationWarning):
    """A plugin uses a hook or an argument that will go."""


def installed(side: Side) -> list[EntryPoint]:
    """Installed plugins of a side, alphabetical. Loads no plugin code."""
    return sorted(_everything().select(group=f"{PROJECT}.{side}"), key=lambda entry: entry.name)


def installed_names() -> set[str]:
    """Every plugin that is installed, on either side."""
    return {entry.name for side in get_args(Side) for entry in installed(side)}


@functools.cache
def _everything() -> Any:
    """Every entry point there is: finding them takes 10 ms, and what a process has loaded does not change."""
    return entry_points()


def implementations(plugin: object) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Hook, function and marks of everything that a plugin object marked as an implementation."""
    for name in dir(plugin):
        function = getattr(plugin, name, None)
        marks = getattr(function, f"{PROJECT}_impl", None)
        if isinstance(marks, dict):
            yield marks.get("specname") or name, function, marks


def check(side: Side, plugin: object, specs: Mapping[str, Any], policies: Mapping[str, Policy]) -> list[str]:
    """The hooks of a plugin; raises `TypeError` with what is wrong and what would be right."""
    hooks = []
    for hook, function, marks in implementations(plugin):
        if hook not in policies:
            if not marks.get("optionalhook"):
                raise TypeError(_unknown_hook(hook, policies))
            continue
        _check_one(side, hook, function, marks, policies[hook])
        _check_arguments(hook, function, arguments_of(specs[hook]))
        hooks.append(hook)
    return sorted(hooks)


def warn_about_deprecated(origin: Origin, plugin: object, policies: Mapping[str, Policy]) -> None:
    """Tell the author and the admin what will go, and what to use instead."""
    for hook, function, _ in implementations(plugin):
        policy = policies.get(hook)
        if policy is None:
            continue
        if policy.deprecated:
            _warn(origin, f"the hook {hook} is deprecated: {policy.deprecated}")
        for argument, instead in policy.deprecated_arguments.items():
            if argument in _wanted(function):
                _warn(origin, f"the argument {argument} of {hook} is deprecated: {instead}")


def _warn(origin: Origin, text: str) -> None:
    log.warning("plugin uses what will go", plugin=origin.name, version=origin.version, what=text)
    warnings.warn(f"{origin}: {text}", PluginDeprecationWarning, stacklevel=2)


def _unknown_hook(hook: str, known: Mapping[str, Any]) -> str:
    near = _near(hook, known)
    hint = f"did you mean {near[0]}?" if near else "docs/reference/hooks.md lists what there is."
    return (
        f"{hook} is no hook of this version; {hint} A plugin for several versions of the platform marks it with "
        "@hookimpl(optionalhook=True)"
    )


def _check_one(side: Side, hook: str, function: Any, marks: Mapping[str, Any], policy: Policy) -> None:
    if marks.get("hookwrapper") or marks.get("wrapper"):
        raise TypeError(f"{hook} is awaited, so a wrapper cannot surround it; remove wrapper=True")
    if not callable(function):
        raise TypeError(f"{hook} is not a function")
    if policy.mode is Mode.REGISTER and inspect.iscoroutinefunction(function):
        raise TypeError(f"{hook} is called once at load; make it a plain def")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{hook} is to answer, not to yield; make it a def or an async def that returns")
    if side not in policy.sides:
        other = policy.sides[0]
        raise TypeError(
            f"{hook} is a hook of the {other} side; move it to the entry-point group {PROJECT}.{other}"
        )


def _check_arguments(hook: str, function: Any, known: tuple[str, ...]) -> None:
    for name in _wanted(function):
        if name not in known:
            near = _near(name, known)
            hint = f"did you mean {near[0]!r}? " if near else ""
            has = ", ".join(known) or "none"
            raise TypeError(f"{hook} has no argument {name!r}; {hint}It has: {has}")


def _near(name: str, known: Iterable[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(name, known, n=1)


def _wanted(function: Any) -> list[str]:
    """The arguments that are to be filled: those without a default."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind in kinds and p.default is inspect.Parameter.empty]
