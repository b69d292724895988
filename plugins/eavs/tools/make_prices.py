# ruff: noqa: INP001
"""
Flatten `genai-prices` into `oqto_plugin_eavs/prices.json`, for a person to review in a pull request.

    uv run --with genai-prices==0.2.3 python plugins/eavs/tools/make_prices.py

Prices become integer nano-dollars per million units, `[base, [start, price]…]` with the start of each
long-context tier. The proxy never fetches prices: a download that changes money is a hole in the wall.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genai_prices.data import providers
from genai_prices.types import ConditionalPrice, ModelPrice, StartDateConstraint, TieredPrices

TARGET = Path(__file__).parents[1] / "oqto_plugin_eavs" / "prices.json"
PROVIDERS = [
    "openai",
    "anthropic",
    "google",
    "openrouter",
    "groq",
    "mistral",
    "deepseek",
    "x-ai",
    "azure",
    "together",
    "fireworks",
    "cerebras",
    "moonshotai",
    "perplexity",
]
CLASSES = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "audio_input": "input_audio_mtok",
    "audio_output": "output_audio_mtok",
    "audio_cache_read": "cache_audio_read_mtok",
}
NUSD = 10**9


def nusd(price: Any) -> int:
    return int((price * NUSD).to_integral_value())  # a third of a cent per million is rounded here, once


def rate(price: Any) -> list[Any] | None:
    if price is None:
        return None
    if isinstance(price, TieredPrices):
        return [nusd(price.base), *([tier.start, nusd(tier.price)] for tier in price.tiers)]
    return [nusd(price)]


def rates(price: ModelPrice) -> dict[str, list[Any]]:
    found = {name: rate(getattr(price, key)) for name, key in CLASSES.items()}
    if (searches := getattr(price, "web_searches_kcount", None)) is not None:
        found["web_search"] = [nusd(searches * 1000)]
    return {name: value for name, value in found.items() if value is not None}


def condition(entry: ConditionalPrice) -> dict[str, Any]:
    if entry.constraint is None:
        return {}
    if isinstance(entry.constraint, StartDateConstraint):
        return {"from": entry.constraint.start_date.isoformat()}
    return {"hours": [entry.constraint.start_time.isoformat(), entry.constraint.end_time.isoformat()]}


def clause(match: Any) -> dict[str, Any]:
    ((name, value),) = vars(match).items()
    name = name.rstrip("_")
    return {name: [clause(part) for part in value] if isinstance(value, list) else value}


def tiers(model: Any) -> dict[str, dict[str, list[Any]]]:
    named = [
        v for v in model.price_variants or () if list(v.when) == ["service_tier"] and v.constraint is None
    ]
    return {variant.when["service_tier"]: rates(variant.prices) for variant in named}


def flat(model: Any) -> dict[str, Any]:
    entries = model.prices if isinstance(model.prices, list) else [ConditionalPrice(prices=model.prices)]
    prices = [{**condition(entry), **rates(entry.prices)} for entry in entries]
    found = {"id": model.id, "name": model.name or model.id, "match": clause(model.match), "prices": prices}
    if model.context_window:
        found["context"] = model.context_window
    return {**found, "tiers": tiers(model)} if tiers(model) else found


def main() -> None:
    table = {}
    for provider in sorted(providers, key=lambda p: p.id):
        if provider.id in PROVIDERS:
            models = [flat(model) for model in provider.models]
            table[provider.id] = {"models": models, "fallback": provider.fallback_model_providers or []}
    lines = json.dumps(
        {"source": f"genai-prices {version('genai-prices')}", "providers": table}, sort_keys=True
    )
    TARGET.write_text(lines.replace('{"id"', '\n{"id"').replace('}, {"context"', '},\n{"context"') + "\n")


if __name__ == "__main__":
    main()
