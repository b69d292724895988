"""
What a call costs, in integer nano-dollars, from the reviewed table `prices.json` and overrides.

A model is found by its exact id, then by the table's own matchers in their order; nothing is guessed.
A class without a price of its own is billed as the class above it: cache reads and writes as input.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from typing import Any

import msgspec

PER = 1_000_000
MOST_PRICE = 10_000
"""USD per million tokens: what calls of dearer ones come to would not fit a ledger."""
SOUND = ("audio_input", "audio_cache_read", "audio_output")
Rate = tuple[int, tuple[tuple[int, int], ...]]
"""Nano-dollars per million units, and (start, price) of each tier above a prompt size."""


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """
    Counts of one call in normal form: `input` is uncached, `output` includes `reasoning`.

    `audio_…` say how many of `input`, `cache_read` and `output` were sound.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    web_searches: int = 0
    audio_input: int = 0
    audio_cache_read: int = 0
    audio_output: int = 0

    @property
    def prompt(self) -> int:
        """Everything the model read; decides the long-context tier."""
        return self.input + self.cache_read + self.cache_write + self.cache_write_1h


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """The rates of a model. `matched` says which entry of which table they come from."""

    matched: str
    input: Rate
    output: Rate
    cache_read: Rate
    cache_write: Rate
    cache_write_1h: Rate
    web_search: Rate = (0, ())
    name: str = ""
    context: int = 0
    audio_input: Rate | None = None
    audio_cache_read: Rate | None = None
    audio_output: Rate | None = None

    def cost_nusd(self, tokens: Tokens) -> int:
        """The bill, rounded half up once."""
        prompt = tokens.input + tokens.cache_read + tokens.cache_write + tokens.cache_write_1h
        (read, tiers), (said, other_tiers) = self.input, self.output
        if tiers or other_tiers:
            read, said = _at(self.input, prompt), _at(self.output, prompt)
        total = tokens.input * read + tokens.output * said
        if tokens.cache_read or tokens.cache_write or tokens.cache_write_1h or tokens.web_searches:
            total += self._beside(tokens, prompt)
        if tokens.audio_input or tokens.audio_cache_read or tokens.audio_output:
            total += self._sound_nusd(tokens, prompt)
        return (total + PER // 2) // PER

    def _beside(self, tokens: Tokens, prompt: int) -> int:
        """What the cache and searches cost, in units of a millionth."""
        return (
            tokens.cache_read * _at(self.cache_read, prompt)
            + tokens.cache_write * _at(self.cache_write, prompt)
            + tokens.cache_write_1h * _at(self.cache_write_1h, prompt)
            + tokens.web_searches * _at(self.web_search, prompt)
        )

    def _sound_nusd(self, tokens: Tokens, prompt: int) -> int:
        """What sound costs beyond text, in units of a millionth."""
        return sum(
            count * (_at(rate, prompt) - _at(text, prompt))
            for count, rate, text in (
                (tokens.audio_input, self.audio_input, self.input),
                (tokens.audio_cache_read, self.audio_cache_read, self.cache_read),
                (tokens.audio_output, self.audio_output, self.output),
            )
            if count and rate is not None
        )

    def hold_nusd(self, prompt: int, output: int, *, has_sound: bool = False) -> int:
        """An upper estimate for a call of these sizes: the dearest way to be billed for the prompt."""
        rates = self.input, self.cache_write, self.cache_write_1h, self.output
        (read, tiers), (written, more), (kept, even_more), (said, most) = rates
        if tiers or more or even_more or most:
            read, written, kept, said = (_at(rate, prompt) for rate in rates)
        dearest = max(read, written, kept)
        if has_sound:
            dearest = max(dearest, _at(self.audio_input or self.input, prompt))
            said = max(said, _at(self.audio_output or self.output, prompt))
        return -(-(prompt * dearest + output * said) // PER)

    @property
    def is_free(self) -> bool:
        """Whether nothing of it costs anything."""
        return self.input == self.output == self.cache_read == self.cache_write == (0, ())


def _at(rate: Rate, prompt: int) -> int:
    base, tiers = rate
    if tiers:
        for start, price in reversed(tiers):
            if prompt > start:
                return price
    return base


FREE = Price(
    matched="free",
    input=(0, ()),
    output=(0, ()),
    cache_read=(0, ()),
    cache_write=(0, ()),
    cache_write_1h=(0, ()),
)


@lru_cache(maxsize=4096)
def flat_price(
    matched: str,
    input_usd: float,
    output_usd: float,
    cache_read_usd: float | None,
    cache_write_usd: float | None,
) -> Price:
    """A price from USD per million tokens, as a configuration states it; `None`: as input."""
    base: Rate = (_nusd(input_usd), ())
    write: Rate = base if cache_write_usd is None else (_nusd(cache_write_usd), ())
    return Price(
        matched=matched,
        input=base,
        output=(_nusd(output_usd), ()),
        cache_read=base if cache_read_usd is None else (_nusd(cache_read_usd), ()),
        cache_write=write,
        cache_write_1h=write,
    )


def _nusd(usd: float) -> int:
    return round(usd * 1e9)


class _Model(msgspec.Struct, frozen=True):
    id: str
    name: str
    match: dict[str, Any]
    prices: list[dict[str, Any]]
    context: int = 0
    tiers: dict[str, dict[str, Any]] = {}


class _Provider(msgspec.Struct, frozen=True):
    models: list[_Model]
    fallback: list[str] = []


class _Table(msgspec.Struct, frozen=True):
    source: str
    providers: dict[str, _Provider]


@lru_cache(maxsize=1)
def table() -> _Table:
    """The table as built; read on first use."""
    data = files("oqto_plugin_eavs").joinpath("prices.json").read_bytes()
    return msgspec.json.decode(data, type=_Table)


def find(provider: str, model: str, *, tier: str = "", at: float | None = None) -> Price | None:
    """
    The price of `model` at the table's `provider`, or `None`: unpriced, never a guess.

    `tier` is the service tier that the reply names (`flex`, `priority`…); `at` the time of the call.
    """
    day = datetime.fromtimestamp(at, UTC) if at is not None else datetime.now(UTC)
    return _find(
        provider, model.lower(), tier, day.replace(minute=day.minute // 15 * 15, second=0, microsecond=0)
    )


@lru_cache(maxsize=4096)
def _find(provider: str, model: str, tier: str, now: datetime) -> Price | None:
    for owner in _owners(provider):
        for reference in (model, _dashed_date(model)):
            if entry := _match(owner, reference):
                return _price(owner, entry, tier, now)
    return None


def _owners(provider: str) -> list[str]:
    known = table().providers
    if provider not in known:
        return []
    return [provider, *(name for name in known[provider].fallback if name in known)]


def _match(provider: str, model: str) -> _Model | None:
    models = table().providers[provider].models
    exact = next((m for m in models if m.id.lower() == model), None)
    return exact or next((m for m in models if _matches(m.match, model)), None)


def _matches(clause: dict[str, Any], text: str) -> bool:
    ((kind, value),) = clause.items()
    if kind == "or":
        return any(_matches(part, text) for part in value)
    if kind == "and":
        return all(_matches(part, text) for part in value)
    if kind == "regex":
        return re.search(value, text) is not None
    value = value.lower()
    tests = {"equals": text == value, "contains": value in text}
    return (
        tests.get(kind)
        or (kind == "starts_with" and text.startswith(value))
        or (kind == "ends_with" and text.endswith(value))
    )


def _dashed_date(model: str) -> str:
    return re.sub(r"-(\d{4})(0[1-9]|1[0-2])(\d\d)$", r"-\1-\2-\3", model)


def _price(provider: str, entry: _Model, tier: str, now: datetime) -> Price | None:
    active = next((p for p in reversed(entry.prices) if _is_active(p, now)), entry.prices[0])
    rates = {**active, **entry.tiers.get(tier, {})}
    if "input" not in rates and "output" not in rates:
        return None
    if "audio_input" in rates:
        rates.setdefault("audio_cache_read", rates["audio_input"])
    nothing: list[Any] = [0]
    base = rates.get("input", nothing)
    write = rates.get("cache_write", base)
    return Price(
        matched=f"{provider}/{entry.id}",
        input=_rate(base),
        output=_rate(rates.get("output", nothing)),
        cache_read=_rate(rates.get("cache_read", base)),
        cache_write=_rate(write),
        cache_write_1h=_rate(rates.get("cache_write_1h", write)),
        web_search=_rate(rates.get("web_search", nothing)),
        **{name: _rate(rates[name]) for name in SOUND if name in rates},
        name=entry.name,
        context=entry.context,
    )


def _rate(value: list[Any]) -> Rate:
    return value[0], tuple((start, price) for start, price in value[1:])


def _is_active(price: dict[str, Any], now: datetime) -> bool:
    if "from" in price:
        return bool(now.date().isoformat() >= price["from"])
    if "hours" not in price:
        return True
    start, end = (str(hour)[:8] for hour in price["hours"])
    clock = now.strftime("%H:%M:%S")
    return clock >= start or clock < end if end < start else start <= clock < end
