"""The plugins of one process: found, validated, ordered, called."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

import pluggy
import structlog

from oqto_platform import tracing
from oqto_platform.errors import NotFound, PluginFailed, PluginLoadError
from oqto_platform.hooks import answers, loading, spec
from oqto_platform.hooks.counted import HookCount, together
from oqto_platform.hooks.failures import Origin, load_error
from oqto_platform.hooks.implementation import Impl, Tally
from oqto_platform.hooks.spec import PROJECT, Mode, Side
from oqto_platform.hooks.walk import Walk
from oqto_platform.types import PluginInfo

if TYPE_CHECKING:
    from oqto_platform.calls import Calls

log = structlog.get_logger("oqto.plugins")


class Hooks:
    """The plugins of one process. `call` has one typed method per run-time hook."""

    call: Calls

    def __init__(self, side: Side) -> None:
        from oqto_platform import hookspecs
        from oqto_platform.calls import Calls

        self.side = side
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self.policies = spec.policies_of(hookspecs)
        self._specs = {name: getattr(hookspecs, name) for name in self.policies}
        self._answers = {name: answers.answers_of(function) for name, function in self._specs.items()}
        self._changeable = {name: spec.changeable(function) for name, function in self._specs.items()}
        self._impls: dict[str, list[Impl]] = {name: [] for name in self.policies}
        self._infos: list[PluginInfo] = []
        self._origins: dict[str, Origin] = {}
        self.aside: dict[str, str] = {}
        """Plugins that did not start, and why."""
        self.call = Calls(self)

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
        left_out, chosen = set(disabled), set(only)
        for name, plugin in builtins.items():
            hooks.register(plugin, name)
        for entry in loading.installed(side):
            if entry.name not in left_out and (not chosen or entry.name in chosen):
                hooks.register_entry(entry)
        return hooks.checked()

    def register_entry(self, entry: EntryPoint) -> None:
        """Import and register one installed plugin."""
        try:
            plugin = entry.load()
        except (Exception, SystemExit) as exc:  # a plugin's module may raise anything while it is imported
            text = f"cannot be imported: {type(exc).__name__}: {exc}"
            raise load_error(Origin.of(entry), text) from exc
        self.register(plugin, entry.name, entry)

    def register(self, plugin: object, name: str, entry: EntryPoint | None = None) -> None:
        """Add a plugin object; refuses what is misspelt, wrappers and hooks of the other side."""
        origin = Origin.of(entry) if entry else Origin(name)
        self._refuse_second(origin)
        self._origins.setdefault(name, origin)
        try:
            hooks = loading.check(self.side, plugin, self._specs, self.policies)
            self._manager.register(plugin, name)
        except (pluggy.PluginValidationError, TypeError, ValueError) as exc:
            raise load_error(origin, str(exc)) from exc
        loading.warn_about_deprecated(origin, plugin, self.policies)
        self._infos.append(
            PluginInfo(
                name=name,
                side=self.side,
                distribution=origin.distribution or "built in",
                version=origin.version,
                hooks=tuple(hooks),
            )
        )

    def _refuse_second(self, origin: Origin) -> None:
        if (first := self._origins.get(origin.name)) is not None:
            raise load_error(origin, f"{first} has this name, too; uninstall one of the two, or disable both")

    def checked(self) -> Hooks:
        """Fix the order of calls; refuses two plugins for a hook that only one may answer."""
        for name in self.policies:
            impls = reversed(getattr(self._manager.hook, name).get_hookimpls())
            self._impls[name] = [
                Impl(
                    name,
                    self._origins[i.plugin_name],
                    i.function,
                    tuple(i.argnames),
                    inspect.iscoroutinefunction(i.function),
                )
                for i in impls
            ]
            self._refuse_two_answerers(name)
        return self

    def _refuse_two_answerers(self, hook: str) -> None:
        strangers = sorted({i.origin for i in self._impls[hook] if i.origin.distribution}, key=str)
        if self.policies[hook].one_answerer and len(strangers) > 1:
            first, second = strangers[:2]
            text = f"{first} answers {hook}, too, and only one plugin may; disable one of the two"
            raise load_error(second, text)

    def name_several_answerers(self) -> None:
        """Say at a start where it is not plain whose answer counts. Two ways to sign in are no fault."""
        for hook, impls in self._impls.items():
            strangers = [str(impl.origin) for impl in impls if impl.origin.distribution]
            if self.policies[hook].mode is Mode.FIRST and len(strangers) > 1:
                log.warning("several plugins answer a hook; the first that has an answer wins", hook=hook,
                            asked_in_this_order=strangers, repair="disable those that are not meant to")  # fmt: skip

    def error(self, plugin: str, text: str) -> PluginLoadError:
        """The error that stops the start because of `plugin`, with its version and the command that disables it."""
        return load_error(self._origins.get(plugin, Origin(plugin)), text)

    def plugins(self) -> list[PluginInfo]:
        """What is loaded in this process, in alphabetical order."""
        return sorted(self._infos, key=lambda info: info.name)

    def tallies(self) -> dict[tuple[str, str], Tally]:
        """`(hook, plugin)` to its counts since the start. Live: read, do not keep."""
        return {(name, impl.plugin): impl.tally for name, impls in self._impls.items() for impl in impls}

    def counted(self) -> list[HookCount]:
        """How each plugin's hooks did since the start; what is called only at load is left out."""
        awaited = (name for name, policy in self.policies.items() if policy.mode is not Mode.REGISTER)
        return together(impl.counted() for name in awaited for impl in self._impls[name])

    def switch_on(self, plugin: str) -> list[str]:
        """Call a plugin again that was switched off because it kept failing; the hooks that were off."""
        if plugin not in self._origins:
            known = ", ".join(sorted(self._origins))
            raise NotFound(f"no plugin {plugin!r} is loaded; there are: {known}")
        mine = [impl for impls in self._impls.values() for impl in impls if impl.plugin == plugin]
        return [impl.hook for impl in mine if impl.switch_on()]

    def implements(self, hook: str) -> bool:
        """Whether any plugin answers `hook`."""
        return bool(self._impls.get(hook))

    def only_answering(self, hook: str) -> Hooks:
        """The same plugins in the same state, without those that do not implement `hook`."""
        plugins = {impl.plugin for impl in self._impls[hook]}
        found = copy.copy(self)
        found._impls = {  # noqa: SLF001 (a copy of ourselves)
            name: [impl for impl in impls if impl.plugin in plugins] for name, impls in self._impls.items()
        }
        found.call = type(self.call)(found)
        return found

    def register_all(self, hook: str, **arguments: Any) -> dict[str, Any]:
        """Call a REGISTER hook once on every plugin: plain functions, answers by plugin."""
        found = {}
        for impl in self._impls[hook]:
            try:
                answer = self._registered(impl, arguments)
            except (Exception, SystemExit) as exc:  # a plugin may raise anything; its name must be on it
                raise load_error(impl.origin, f"failed in {hook}: {type(exc).__name__}: {exc}") from exc
            if answer is not None:
                found[impl.plugin] = answer
        return found

    def _registered(self, impl: Impl, arguments: Mapping[str, Any]) -> Any:
        answer = impl.function(*impl.values(arguments))
        if inspect.isawaitable(answer):
            answers.close(answer)
            raise TypeError("answers with something to await; make it a plain def")
        if answer is not None and self._answers[impl.hook]:
            answers.check(impl.hook, impl.plugin, answer, self._answers[impl.hook])
        return answer

    def set_aside(self, plugin: str, why: str) -> None:
        """
        A plugin that did not start. It is told nothing more and brings nothing more.

        Where it has a say, the call fails: nobody slips through because the one who might say no is not able to.
        """
        self.aside[plugin] = why
        for name, impls in self._impls.items():
            kept = (impl if impl.plugin != plugin else self._silenced(impl, why) for impl in impls)
            self._impls[name] = [impl for impl in kept if impl is not None]

    def _silenced(self, impl: Impl, why: str) -> Impl | None:
        if impl.hook == "shutdown":
            return impl
        if self.policies[impl.hook].mode in (Mode.REGISTER, Mode.NOTIFY):
            return None

        def fail() -> None:
            raise PluginFailed(f"it did not start: {why}")

        return dataclasses.replace(impl, function=fail, argnames=(), is_async=False)

    def answering(self, hook: str) -> list[str]:
        """The plugins that have `hook`, in the order of calls."""
        return [impl.plugin for impl in self._impls[hook]]

    async def run_one(self, hook: str, plugin: str, **arguments: Any) -> Any:
        """`run` for one plugin alone."""
        return await self._walk(hook, [i for i in self._impls[hook] if i.plugin == plugin], arguments)

    async def run(self, hook: str, **arguments: Any) -> Any:
        """Call a run-time hook by its mode. Use the typed methods of `call` instead."""
        return await self._walk(hook, self._impls[hook], arguments)

    async def _walk(self, hook: str, impls: list[Impl], arguments: dict[str, Any]) -> Any:
        walk = Walk(self.policies[hook], self._answers[hook], self._changeable[hook], impls, arguments)
        with tracing.span(f"hook {hook}"):
            return await walk.run()
