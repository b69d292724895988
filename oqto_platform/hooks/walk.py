"""
One call of a hook: through the implementations, in their order, in the way of the hook's mode.

The plugins run in a task of their own, one for the whole walk, so that the caller can go on without a plugin that swallows
its cancellation. One timer serves the whole walk, too, from the moment that a plugin waits for something: arming one costs more
than most hooks do.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator, Mapping, Sequence
from time import perf_counter
from typing import Any

import msgspec
import structlog

from oqto_platform.errors import Refusal
from oqto_platform.hooks import answers as _answers
from oqto_platform.hooks.failures import HookError, is_the_plugins, reason
from oqto_platform.hooks.implementation import Impl
from oqto_platform.hooks.spec import Mode, Policy

log = structlog.get_logger("oqto.plugins")

GRACE_S = 1.0
"""For a cancelled plugin to end in order; the caller does not wait for it."""

_FAILED = object()

_abandoned: set[asyncio.Task[Any]] = set()
"""Tasks that nobody awaits any more: the loop itself keeps only weak references."""


class Walk:
    """`run` it once. Raises `HookError` and `Refusal` by the mode."""

    __slots__ = (
        "_arguments", "_begun", "_changeable", "_collected", "_expected", "_first", "_impls", "_is_over", "_leg", "_may_rest", "_now",
        "_policy", "_position", "_timer", "_wake",
    )  # fmt: skip

    def __init__(
        self,
        policy: Policy,
        expected: tuple[_answers.Answer, ...],
        changeable: Mapping[str, tuple[str, ...]],
        impls: Sequence[Impl],
        arguments: dict[str, Any],
    ) -> None:
        self._policy = policy
        self._expected = expected
        self._changeable = changeable
        self._impls = impls
        self._arguments = arguments
        self._collected: dict[str, Any] = {}
        self._first: Any = None
        self._position = 0
        self._begun = self._now = 0.0
        self._leg = 0
        self._is_over = False
        self._timer: asyncio.TimerHandle | None = None
        self._wake: asyncio.Future[bool]
        # Only who is told something: a hook of money or safety that is skipped would be a hole.
        self._may_rest = policy.mode is Mode.NOTIFY

    async def run(self) -> Any:
        """The answer by the mode."""
        for impl in self._impls:
            if impl.is_async:
                await self._advance_watched()
                break
        else:
            await self._advance_alone()
        return self._result()

    async def _advance_alone(self) -> None:
        """Nobody here is known to wait for anything; who does all the same is watched from there on."""
        self._now = perf_counter()
        while self._position < len(self._impls) and not self._is_over:
            impl = self._impls[self._position]
            if not self._is_left_out(impl):
                answer = self._begin(impl)
                if answer is not None and hasattr(type(answer), "__await__"):
                    await self._advance_watched(answer)
                    return
                self._take(impl, answer)
            self._position += 1

    async def _advance_watched(self, begun: Any = None) -> None:
        while self._position < len(self._impls) and not self._is_over:
            self._wake = asyncio.get_running_loop().create_future()
            task = asyncio.create_task(self._advance(self._leg, self._wake, begun))
            begun = None
            if await self._is_through(task):
                task.result()
                return
            self._give_up(task)

    async def _is_through(self, task: asyncio.Task[None]) -> bool:
        """Wait for the end of `task`; false when the plugin that it is with is late."""
        try:
            return await self._wake
        except asyncio.CancelledError:
            await self._cancel(task)
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _look(self) -> None:
        """Wake the caller when the plugin that the task is with is late; else look again when it would be."""
        left_s = self._begun + self._policy.timeout_s - perf_counter()
        if left_s > 0:
            self._timer = asyncio.get_running_loop().call_later(left_s, self._look)
        elif not self._wake.done():
            self._wake.set_result(False)

    async def _cancel(self, task: asyncio.Task[None]) -> None:
        """Pass our own cancellation on, and wait for its end, but not for ever."""
        self._leg += 1
        task.cancel()
        await asyncio.wait({task}, timeout=GRACE_S)
        if task.done() and not task.cancelled():
            task.exception()
        elif not task.done():
            _abandon(task)

    def _give_up(self, task: asyncio.Task[None]) -> None:
        impl = self._impls[self._position]
        self._leg += 1
        task.cancel()
        _abandon(task)
        self._position += 1
        self._now = perf_counter()
        self._fail(impl, TimeoutError())

    async def _advance(self, leg: int, wake: asyncio.Future[bool], begun: Any) -> None:
        try:
            await self._go_through(leg, begun)
        finally:
            # Here and not in a callback of the task, which would take one more round of the loop.
            if not wake.done():
                wake.set_result(True)

    async def _go_through(self, leg: int, begun: Any) -> None:
        """Take the rest. Ends at once when the caller has gone on without this task."""
        self._now = perf_counter()
        while self._position < len(self._impls):
            impl = self._impls[self._position]
            if begun is None and self._is_left_out(impl):
                self._position += 1
                continue
            answer, begun = self._begin(impl) if begun is None else begun, None
            if answer is not None and hasattr(type(answer), "__await__"):
                begin_steps = self._timed if type(answer) is types.CoroutineType else self._waited
                try:
                    answer = await begin_steps(answer, impl, leg)
                except BaseException as exc:  # a plugin may raise anything; the mode decides what that means
                    if leg != self._leg or not is_the_plugins(exc):
                        raise
                    answer = exc
                if leg != self._leg:
                    return
            self._take(impl, answer)
            self._position += 1
            if self._is_over:
                return

    @types.coroutine
    def _timed(self, coroutine: Coroutine[Any, Any, Any], impl: Impl, leg: int) -> Generator[Any, Any, Any]:
        """Time every step of it, because between two of them it holds the event loop."""
        step: Any = coroutine.send
        value: Any = None
        while True:
            try:
                awaited = step(value)
            except StopIteration as end:
                return end.value
            finally:
                self._read_clock(impl)
            self._arm(leg)
            try:
                value = yield awaited
                step = coroutine.send
            except BaseException as exc:  # noqa: BLE001 (handed on to whom it is for)
                value, step = exc, coroutine.throw
            self._now = perf_counter()

    async def _waited(self, awaitable: Any, impl: Impl, leg: int) -> Any:
        """What is no coroutine runs no code of the plugin here."""
        self._arm(leg)
        try:
            return await awaitable
        finally:
            self._now = perf_counter()

    def _read_clock(self, impl: Impl) -> None:
        """
        Note how long `impl` held the event loop, from the reading before to this one.

        Each stretch without an await begins with a reading. One more serves as the end of a plugin's and as the beginning
        of the next one's: a reading costs as much as the call of a hook.
        """
        before, self._now = self._now, perf_counter()
        if (held_s := self._now - before) > impl.tally.longest_block_s:
            impl.note_block(held_s)

    def _arm(self, leg: int) -> None:
        """Set the timer once somebody waits for something: who answers at once cannot be late."""
        if self._timer is None and leg == self._leg:
            self._look()

    def _is_left_out(self, impl: Impl) -> bool:
        return impl.tally.off_since is not None and self._may_rest and impl.is_resting()

    def _begin(self, impl: Impl) -> Any:
        """Call it: an answer, something to await, or the exception that it raised."""
        self._begun = self._now
        given = self._given() if self._changeable else self._arguments
        try:
            answer = impl.function(*impl.values(given))
        except (Exception, SystemExit) as exc:  # noqa: BLE001 (plugins raise anything; the mode decides)
            answer = exc
        if type(answer) is not types.CoroutineType:  # nothing of that one has run yet
            self._read_clock(impl)
        if given is not self._arguments:
            self._refuse_changes(impl, given)
        return answer

    def _given(self) -> dict[str, Any]:
        """The arguments; what a plugin could change in place is a copy of its own."""
        own = {name: _own_copy(self._arguments[name], fields) for name, fields in self._changeable.items()}
        return self._arguments | own

    def _refuse_changes(self, impl: Impl, given: Mapping[str, Any]) -> None:
        for name in self._changeable:
            if given[name] != self._arguments[name]:
                impl.tally.changed_arguments += 1
                log.warning("plugin changes its argument; the change is dropped", plugin=impl.plugin,
                            version=impl.origin.version, hook=impl.hook, argument=name,
                            repair="answer with msgspec.structs.replace(…)")  # fmt: skip

    def _take(self, impl: Impl, answer: Any) -> None:
        """What an answer, or the exception in its place, means in this mode."""
        if answer is not None and (answer := self._checked(impl, answer)) is _FAILED:
            return
        impl.note(self._now - self._begun)
        if impl.tally.off_since is not None:
            impl.switch_on()
        if answer is not None:
            self._keep(impl.plugin, answer)

    def _checked(self, impl: Impl, answer: Any) -> Any:
        if isinstance(answer, BaseException):
            self._fail(impl, answer)
            return _FAILED
        try:
            if self._expected:
                _answers.check(impl.hook, impl.plugin, answer, self._expected)
                _answers.check_size(impl.hook, impl.plugin, answer)
        except (TypeError, ValueError) as exc:
            self._fail(impl, exc)
            return _FAILED
        return answer

    def _keep(self, plugin: str, answer: Any) -> None:
        if self._policy.mode is Mode.FIRST:
            self._first, self._is_over = answer, True
        elif self._policy.value is not None:
            self._arguments[self._policy.value] = answer
        else:
            self._collected[plugin] = answer

    def _fail(self, impl: Impl, exc: BaseException) -> None:
        if isinstance(exc, Refusal):
            impl.note(self._now - self._begun)
            if self._policy.mode is not Mode.NOTIFY:
                raise exc
            log.warning("a plugin may not refuse here", plugin=impl.plugin, hook=impl.hook, reason=exc.detail)
            return
        why = reason(exc, self._arguments)
        impl.note(self._now - self._begun, why)
        if self._policy.mode is Mode.NOTIFY:
            log.error("plugin failed", plugin=impl.plugin, version=impl.origin.version, hook=impl.hook, reason=why,
                      repair=f"oqtoctl plugins disable {impl.plugin}", exc_info=exc)  # fmt: skip
            impl.trip()
            return
        failure = HookError(impl.hook, impl.origin, why)
        if self._policy.failure_is_answer is None:
            raise failure from exc
        self._collected[impl.plugin] = self._policy.failure_is_answer(impl.plugin, failure)

    def _result(self) -> Any:
        match self._policy.mode:
            case Mode.FIRST:
                return self._first
            case Mode.FOLD:
                return self._arguments[self._policy.value or ""]
            case Mode.COLLECT:
                return self._collected
        return None


def _own_copy(value: Any, fields: tuple[str, ...]) -> Any:
    return msgspec.structs.replace(value, **{field: dict(getattr(value, field)) for field in fields})


def _abandon(task: asyncio.Task[Any]) -> None:
    """Nobody waits for it any more. It has `GRACE_S` to end, then it is ended."""
    _abandoned.add(task)
    task.add_done_callback(_forget)
    asyncio.get_running_loop().call_later(GRACE_S, _end, task)


def _forget(task: asyncio.Task[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()  # looked at, so that nobody is told of it at the end of the process


def _end(task: asyncio.Task[Any]) -> None:
    """
    End a task that swallowed its cancellation.

    Left alone it would keep the process from ending: the loop waits for every task. Its coroutine is closed as the
    garbage collector would, and the task finds it closed at its next step.
    """
    coroutine = task.get_coro()
    if task.done() or not isinstance(coroutine, Coroutine):
        return
    log.error("a plugin does not let itself be cancelled; it is ended", task=task.get_name())
    try:
        coroutine.close()
    except (RuntimeError, ValueError):
        return  # it swallows that, too, or runs just now
    task.cancel()
