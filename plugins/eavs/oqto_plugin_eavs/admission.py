"""
What stands between a request and a provider: which key, which providers, at what price, how much aside.

Nothing here waits for a provider. The first choice is the one that was asked for; the others are its fallbacks,
tried in order while nothing has reached the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from oqto_platform import clock
from oqto_platform.errors import BudgetExceeded

from . import prices, routing
from .ledger import Facts, TooFast
from .meter import Meter, NoMeter
from .refusals import Refused
from .tables import StoreFailed

if TYPE_CHECKING:
    import asyncio

    from .ask import Ask
    from .keys import Key, Keys
    from .ledger import Bill, Call, Ledger
    from .metrics import Metrics
    from .prices import Price
    from .providers import Provider, Registry
    from .proxy import Limits
    from .routing import Route

NO_KEY = "No key came with the request. Oqto gives each session its own."
BROKE = "The money set aside does not cover this call. An admin can raise the limit."
BAD_KEY = "This key is unknown, revoked or expired."
PRICES_S = 900
"""Some prices change with the time of day, at full quarters."""
KEPT_CHOICES = 4096


class Choice(msgspec.Struct, frozen=True, eq=False):
    """
    A provider that may answer a call: its own name of the model, and what that costs.

    `adds_usage`: a stream is to be asked for its counts; `drops_options`: it takes no such wish. `meter` reads its replies.
    """

    provider: Provider
    model: str
    price: Price
    adds_usage: bool = False
    drops_options: bool = False
    meter: type[Meter] = NoMeter


class Opening(msgspec.Struct, frozen=True, eq=False):
    """An attempt that wants money: `hold` nano-dollars, about `tokens` of prompt. `after`: the attempt before it."""

    id: str
    key: Key
    choice: Choice
    dialect: str
    hold: int
    tokens: int
    after: Call | None = None


class Choices:
    """What `choose` found, remembered while providers and limits stay as they are; prices for a quarter of an hour."""

    def __init__(self) -> None:
        self._found: dict[tuple[bytes, str, str], list[Choice]] = {}
        self._stamp: tuple[object, ...] = ()

    def of(self, key: Key, route: Route, wanted: str, registry: Registry, limits: Limits) -> list[Choice]:
        """See `choose`."""
        stamp = (registry.version, limits, int(clock.now() // PRICES_S))
        if stamp != self._stamp or len(self._found) >= KEPT_CHOICES:
            self._stamp = stamp
            self._found.clear()
        asked = (key.hash, f"{route.provider} {route.path}", wanted)
        if (found := self._found.get(asked)) is None:
            found = self._found[asked] = choose(key, route, wanted, registry, limits)
        return found


def choose(key: Key, route: Route, wanted: str, registry: Registry, limits: Limits) -> list[Choice]:
    """Who may answer, the asked one first. Raises `Refused` when that one may not."""
    if not wanted:
        raise Refused(400, "missing_model", 'The request names no model. Add "model".')
    first = _provider(route, wanted, registry)
    chosen = [_choice(key, route, wanted, first, limits)]
    for name, model in first.fallbacks():
        if (other := registry.get(name)) is None:
            continue
        try:
            chosen.append(_choice(key, route, model or wanted, other, limits))
        except Refused:
            continue  # what this key may not use is no fallback for it
    return chosen


def _choice(key: Key, route: Route, wanted: str, provider: Provider, limits: Limits) -> Choice:
    model = provider.aliases.get(wanted, wanted)
    if not key.grants.allows_provider(provider.name):
        raise Refused(403, "provider_not_allowed", f"This key may not use the provider {provider.name}.")
    if not key.grants.allows_model(wanted, model) or not provider.offers(wanted):
        raise Refused(403, "model_not_allowed", f"The model {wanted} may not be used here.")
    if route.action not in provider.about.actions:
        raise Refused(404, "unsupported_path", f"{provider.name} does not answer {route.path}.")
    price = _price(provider, model, route, limits)
    meter = NoMeter if route.is_free else routing.METERS.get(route.action, NoMeter)
    is_chat, takes = route.action == "chat", provider.takes_stream_options
    return Choice(
        provider, model, price, adds_usage=is_chat and takes, drops_options=is_chat and not takes, meter=meter
    )


def _provider(route: Route, model: str, registry: Registry) -> Provider:
    found = registry.get(route.provider) if route.provider else registry.with_model(model)
    if found is None and route.provider:
        raise Refused(404, "unknown_provider", f"There is no provider {route.provider}.")
    if found is None:
        raise Refused(404, "model_not_found", f"No provider offers the model {model}.")
    return found


def _price(provider: Provider, model: str, route: Route, limits: Limits) -> Price:
    if route.is_free:
        return prices.FREE
    found = provider.price(model)
    if found is None and not limits.allow_unpriced:
        text = (
            f"The model {model} has no known price at {provider.name}, so it cannot be billed. Set one under"
        )
        raise Refused(
            403, "unpriced_model", f"{text} [eavs.providers.{provider.name}.prices], or allow_unpriced."
        )
    return found or prices.FREE


def facts_of(key: Key, choice: Choice, dialect: str) -> Facts:
    """What the row of a call says."""
    provider, matched = choice.provider.name, choice.price.matched
    return Facts(key.account, key.workspace, key.id, provider, choice.model, dialect, matched)


def output_tokens(ask: Ask, limits: Limits) -> int:
    """For how many tokens of reply money is set aside."""
    most, replies = ask.max_completion_tokens or ask.max_output_tokens or ask.max_tokens, ask.n
    if (of_gemini := ask.generationConfig) is not None:
        most, replies = of_gemini.maxOutputTokens or most, of_gemini.candidateCount or replies
    return min(max(most or limits.hold_output, 1), limits.hold_output) * (replies or 1)


def refusal_of(exc: Exception) -> Refused | None:
    """The refusal that a failure of the ledger means for the caller; `None` when it is no answer to one."""
    if isinstance(exc, Refused):
        return exc
    if isinstance(exc, BudgetExceeded):
        return Refused(402, "budget_exceeded", exc.detail)
    if isinstance(exc, TooFast):
        text = f"{exc.wait.reason} for {exc.whose}."
        wait = exc.wait
        return Refused(429, "rate_limit_exceeded", text, retry_after_s=wait.seconds, used_up=wait.used_up)
    return Refused(503, "ledger_unavailable", exc.detail) if isinstance(exc, StoreFailed) else None


class Till:
    """The counter of this process: finds keys, sets money aside, takes bills."""

    def __init__(self, keys: Keys, ledger: Ledger, metrics: Metrics) -> None:
        self._keys, self._ledger, self._metrics = keys, ledger, metrics

    async def find(self, secret: str) -> Key:
        """The key of a secret; raises `Refused` for none and for one that is not in force."""
        if not secret:
            raise Refused(401, "missing_api_key", NO_KEY)
        if (key := self._keys.find(secret)) is None:
            raise Refused(401, "invalid_api_key", BAD_KEY)
        return key

    async def look(self, key: Key, *, takes: bool = False) -> None:
        """Raise `Refused` when the key has to wait; `takes`: count a call that opens none."""
        try:
            self._ledger.look(key.wallet, key.flow, takes=takes)
        except TooFast as exc:
            raise refusal_of(exc) or exc from exc

    async def open(self, asked: Opening) -> Call:
        """Take a place and set money aside, on disk; raises `Refused` or `StoreFailed`."""
        key, choice = asked.key, asked.choice
        if self._keys.by_hash(key.hash) is None:  # a conversation may outlive its key
            if asked.after is not None:
                self._ledger.free_place(asked.after)
            raise Refused(401, "invalid_api_key", BAD_KEY)
        facts = facts_of(key, choice, asked.dialect)
        try:
            return await self._ledger.open_call(
                asked.id, key.wallet, asked.hold, facts, tokens=asked.tokens, flow=key.flow, after=asked.after
            )
        except (TooFast, BudgetExceeded) as exc:
            raise refusal_of(exc) or exc from exc

    def stretch(self, call: Call, hold: int) -> bool:
        """Set more aside; whether there was more."""
        return self._ledger.stretch(call, hold)

    async def grow(self, call: Call, hold: int) -> bool:
        """Set more aside before something is sent; whether there was more."""
        return self._ledger.stretch(call, hold)

    def close(self, call: Call, bill: Bill, *, keeps_place: bool) -> asyncio.Future[None]:
        """Take the bill; done when it is on disk. `keeps_place`: another attempt follows."""
        return self._ledger.close_call(call, bill, keeps_place=keeps_place)

    def refused(self, reason: str) -> None:
        """Count a refusal."""
        self._metrics.refused[reason] += 1

    async def drain(self) -> None:
        """Wait until every bill is on disk."""
        await self._ledger.drain()
