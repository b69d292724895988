"""
Find plugins and call their hooks from async code, with the plugin's name on every failure.

pluggy finds, validates and orders implementations; it does not call the awaited ones. Its own call
loop cannot await, forgets which plugin gave which result, and lets one raising plugin hide the rest
(a coroutine is never `None`, so `firstresult` stops at the wrong plugin). `Hooks` walks the ordered
implementations itself, in the one way the hook's specification asks for.
"""

from __future__ import annotations

import asyncio
import inspect
import time
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pluggy
import structlog

from oqto_platform.errors import PluginFailed, PluginLoadError, Refusal
from oqto_platform.types import PluginInfo

if TYPE_CHECKING:
    from oqto_platform.calls import Calls

PROJECT = "oqto"
BLOCKING_S = 0.05

Side = Literal["core", "runner"]
F = TypeVar("F", bound=Callable[..., Any])

hookimpl = pluggy.HookimplMarker(PROJECT)
_spec = pluggy.HookspecMarker(PROJECT)
log = structlog.get_logger("oqto.plugins")


class Mode(Enum):
    """What a hook's answers mean, and what a failing plugin does to the call."""

    REGISTER = "register"  # plain function, called once at load; a failure stops the start
    NOTIFY = "notify"  # everyone hears; failures are logged, never raised
    CHECK = "check"  # no answer; a failure or a Refusal ends the call
    FIRST = "first"  # the first answer wins; a failure ends the call
    FOLD = "fold"  # each turns the value into the next; a failure ends the call
    COLLECT = "collect"  # every answer counts, by plugin; a failure ends the call


@dataclass(frozen=True)
class Policy:
    """What the specification says about a hook besides its signature."""

    mode: Mode
    timeout_s: float
    sides: tuple[Side, ...]
    value: str | None = None
    failure_is_answer: Callable[[str, BaseException], Any] | None = None


class HookError(PluginFailed):
    """A plugin failed while a hook that may not fail was being called."""

    def __init__(self, hook: str, plugin: str, cause: BaseException) -> None:
        reason = "took too long" if isinstance(cause, TimeoutError) else f"{type(cause).__name__}: {cause}"
        super().__init__(f"plugin {plugin!r} failed in {hook}: {reason}", hook=hook, plugin=plugin)


@dataclass(frozen=True)
class PerPlugin:
    """An argument that differs by plugin, such as its context."""

    make: Callable[[str], Any]


@dataclass
class Tally:
    """How often a plugin's hook ran, how long, how often it failed."""

    calls: int = 0
    failures: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class _Impl:
    plugin: str
    function: Callable[..., Any]
    argnames: tuple[str, ...]
    tally: Tally = field(default_factory=Tally)


def hookspec(
    mode: Mode,
    *,
    sides: tuple[Side, ...] = ("core",),
    timeout_s: float = 5.0,
    value: str | None = None,
    failure_is_answer: Callable[[str, BaseException], Any] | None = None,
) -> Callable[[F], F]:
    """Mark a function of `hookspecs` as a hook. `value` names the argument that a FOLD turns over."""

    def mark(function: F) -> F:
        function.policy = Policy(mode, timeout_s, sides, value, failure_is_answer)  # type: ignore[attr-defined]
        return _spec(function)

    return mark


class Hooks:
    """The plugins of one process. `call` has one typed method per run-time hook."""

    def __init__(self, side: Side) -> None:
        from oqto_platform import hookspecs
        from oqto_platform.calls import Calls

        self.side = side
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self.policies = _policies(hookspecs)
        self._answers = {name: _answer_types(getattr(hookspecs, name)) for name in self.policies}
        self._impls: dict[str, list[_Impl]] = {}
        self._infos: list[PluginInfo] = []
        self._entries: dict[str, EntryPoint] = {}
        self.call: Calls = Calls(self)

    @classmethod
    def load(
        cls,
        side: Side,
        *,
        builtins: Mapping[str, object] = {},
        disabled: Iterable[str] = (),
        only: Iterable[str] = (),
    ) -> Hooks:
        """
        Register `builtins`, then every installed plugin of this side in alphabetical order.

        Raises `PluginLoadError` that names the plugin, its version and the command that disables it.
        """
        hooks = cls(side)
        for name, plugin in builtins.items():
            hooks.register(plugin, name)
        for entry in installed(side):
            if entry.name not in set(disabled) and (not (chosen := set(only)) or entry.name in chosen):
                hooks.register_entry(entry)
        return hooks.checked()

    def register_entry(self, entry: EntryPoint) -> None:
        """Import and register one installed plugin."""
        try:
            plugin = entry.load()
        except Exception as exc:  # a plugin's module may raise anything while it is imported
            raise _load_error(entry, f"cannot be imported: {type(exc).__name__}: {exc}") from exc
        self._entries[entry.name] = entry
        self.register(plugin, entry.name, entry)

    def register(self, plugin: object, name: str, entry: EntryPoint | None = None) -> None:
        """Add a plugin object; refuses misspelt arguments, wrappers and hooks of the other side."""
        try:
            self._manager.register(plugin, name)
            hooks = self._checked_hooks(plugin)
        except (pluggy.PluginValidationError, TypeError, ValueError) as exc:
            raise _load_error(entry or name, str(exc)) from exc
        distribution = getattr(entry, "dist", None)
        self._infos.append(
            PluginInfo(
                name=name,
                side=self.side,
                distribution=distribution.name if distribution else "built in",
                version=distribution.version if distribution else "",
                hooks=tuple(sorted(hooks)),
            )
        )

    def checked(self) -> Hooks:
        """Refuse implementations of unknown hooks, then fix the order of calls."""
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError as exc:
            name = self._manager.get_name(exc.plugin) or "?"
            raise _load_error(self._entries.get(name, name), str(exc)) from exc
        for name in self.policies:
            impls = reversed(getattr(self._manager.hook, name).get_hookimpls())
            self._impls[name] = [_Impl(i.plugin_name, i.function, tuple(i.argnames)) for i in impls]
        return self

    def plugins(self) -> list[PluginInfo]:
        """What is loaded in this process, in alphabetical order."""
        return sorted(self._infos, key=lambda info: info.name)

    def tallies(self) -> dict[tuple[str, str], Tally]:
        """`(hook, plugin)` to its counts since the start."""
        return {(name, impl.plugin): impl.tally for name, impls in self._impls.items() for impl in impls}

    def implements(self, hook: str) -> bool:
        """Whether any plugin answers `hook`."""
        return bool(self._impls.get(hook))

    def register_all(self, hook: str, **arguments: Any) -> dict[str, Any]:
        """Call a REGISTER hook once on every plugin: plain functions, answers by plugin."""
        answers = {}
        for impl in self._impls[hook]:
            try:
                answer = impl.function(*_arguments(impl, arguments))
                self._check_answer(hook, impl.plugin, answer)
            except Exception as exc:  # a plugin may raise anything; its name must be on it
                where = self._entries.get(impl.plugin, impl.plugin)
                raise _load_error(where, f"failed in {hook}: {type(exc).__name__}: {exc}") from exc
            if answer is not None:
                answers[impl.plugin] = answer
        return answers

    async def run(self, hook: str, **arguments: Any) -> Any:
        """Call a run-time hook by its mode. Use the typed methods of `call` instead."""
        policy = self.policies[hook]
        answers: dict[str, Any] = {}
        for impl in self._impls[hook]:
            try:
                answer = await self._one(hook, policy, impl, arguments)
            except Refusal as exc:
                if policy.mode is not Mode.NOTIFY:
                    raise
                log.warning("a plugin may not refuse here", plugin=impl.plugin, hook=hook, reason=exc.detail)
                continue
            except HookError as exc:
                if policy.mode is Mode.NOTIFY:
                    log.error("plugin failed", plugin=impl.plugin, hook=hook, exc_info=exc.__cause__)
                    continue
                if policy.failure_is_answer is None:
                    raise
                answer = policy.failure_is_answer(impl.plugin, exc)
            if answer is None:
                continue
            if policy.mode is Mode.FIRST:
                return answer
            if policy.value is not None:
                arguments[policy.value] = answer
            answers[impl.plugin] = answer
        return _result(policy, arguments, answers)

    async def _one(self, hook: str, policy: Policy, impl: _Impl, arguments: Mapping[str, Any]) -> Any:
        started = time.perf_counter()
        try:
            answer = impl.function(*_arguments(impl, arguments))
            _warn_if_blocking(hook, impl.plugin, time.perf_counter() - started)
            if inspect.isawaitable(answer):
                async with asyncio.timeout(policy.timeout_s):
                    answer = await answer
            self._check_answer(hook, impl.plugin, answer)
        except Refusal:
            raise
        except BaseException as exc:  # a plugin may raise anything; the mode decides what that means
            if not _is_the_plugins(exc):
                raise
            impl.tally.failures += 1
            raise HookError(hook, impl.plugin, exc) from exc
        finally:
            impl.tally.calls += 1
            impl.tally.seconds += time.perf_counter() - started
        return answer

    def _check_answer(self, hook: str, plugin: str, answer: Any) -> None:
        """Hooks that answer with nothing may answer anything; elements are checked, not only their list."""
        if answer is None or not (expected := self._answers[hook]):
            return
        if not any(kind.fits(answer) for kind in expected):
            names = " or ".join(kind.name for kind in expected)
            raise TypeError(f"{plugin!r} answered {hook} with {_described(answer)}, expected {names}")

    def _checked_hooks(self, plugin: object) -> list[str]:
        names = []
        for caller in self._manager.get_hookcallers(plugin) or ():
            policy = self.policies.get(caller.name)
            for impl in (i for i in caller.get_hookimpls() if i.plugin is plugin):
                if impl.hookwrapper or impl.wrapper:
                    raise TypeError(
                        f"{caller.name} is awaited, so a wrapper cannot surround it; remove wrapper=True"
                    )
                if policy and policy.mode is Mode.REGISTER and inspect.iscoroutinefunction(impl.function):
                    raise TypeError(f"{caller.name} is called once at load; make it a plain def")
            if policy and self.side not in policy.sides:
                raise TypeError(
                    f"{caller.name} is a hook of the {policy.sides[0]} side; move it to the entry-point group oqto.{policy.sides[0]}"
                )
            names.append(caller.name)
        return names


def installed(side: Side) -> list[EntryPoint]:
    """Installed plugins of a side, alphabetical. Loads no plugin code."""
    return sorted(entry_points(group=f"oqto.{side}"), key=lambda entry: entry.name)


def _policies(specs: types.ModuleType) -> dict[str, Policy]:
    return {name: value.policy for name, value in vars(specs).items() if hasattr(value, "policy")}


def _arguments(impl: _Impl, arguments: Mapping[str, Any]) -> list[Any]:
    values = [arguments[name] for name in impl.argnames]
    return [value.make(impl.plugin) if isinstance(value, PerPlugin) else value for value in values]


def _result(policy: Policy, arguments: Mapping[str, Any], answers: dict[str, Any]) -> Any:
    if policy.mode is Mode.FOLD:
        return arguments[policy.value or ""]
    return answers if policy.mode is Mode.COLLECT else None


def _warn_if_blocking(hook: str, plugin: str, seconds: float) -> None:
    if seconds > BLOCKING_S:
        log.warning("plugin blocks the event loop", plugin=plugin, hook=hook, ms=round(seconds * 1e3))


def _load_error(entry: EntryPoint | str, reason: str) -> PluginLoadError:
    name = entry if isinstance(entry, str) else entry.name
    distribution = None if isinstance(entry, str) else entry.dist
    where = f" ({distribution.name} {distribution.version})" if distribution else ""
    return PluginLoadError(
        f"plugin {name!r}{where}: {reason}. To start without it: oqtoctl plugins disable {name}", plugin=name
    )


@dataclass(frozen=True)
class _Answer:
    """What a hook may answer with: a type and, for sequences, the type of the elements."""

    name: str
    kind: type
    element: type | None

    def fits(self, answer: Any) -> bool:
        if self.element is None:
            return isinstance(answer, self.kind)
        is_list = isinstance(answer, Sequence) and not isinstance(answer, str)
        return is_list and all(isinstance(item, self.element) for item in answer)


def _answer_types(function: Callable[..., Any]) -> tuple[_Answer, ...]:
    hint = typing.get_type_hints(function).get("return")
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    found = [_answer(option) for option in options if option not in (None, type(None), Any)]
    return tuple(answer for answer in found if isinstance(answer.kind, type))


def _answer(hint: Any) -> _Answer:
    kind = typing.get_origin(hint) or hint
    elements = (
        [item for item in typing.get_args(hint) if item is not Any and isinstance(item, type)]
        if kind is Sequence
        else []
    )
    element = elements[0] if elements else None
    return _Answer(f"{kind.__name__}[{element.__name__}]" if element else kind.__name__, kind, element)


def _described(answer: Any) -> str:
    kind = type(answer).__name__
    if isinstance(answer, list | tuple):
        return f"{kind}[{', '.join(sorted({type(item).__name__ for item in answer}))}]"
    return kind


def _is_the_plugins(exc: BaseException) -> bool:
    """
    Whether it is the plugin that failed.

    `sys.exit()` in a plugin is its failure and not our end, and so is a cancellation that nobody asked this
    task for: the plugin awaited something of its own that was cancelled.
    """
    if isinstance(exc, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and not task.cancelling()
    return isinstance(exc, Exception | SystemExit)
