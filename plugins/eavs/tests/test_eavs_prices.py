"""The price table against paper arithmetic, and against the package it was made from."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oqto_plugin_eavs.prices import Tokens, find, table

NUSD = Decimal(10**9)


@pytest.mark.parametrize(
    ("provider", "model", "tokens", "usd"),
    [
        ("anthropic", "claude-sonnet-4-5", Tokens(input=100, cache_read=1000, cache_write=50, cache_write_1h=150, output=50), "0.0024375"),
        ("openai", "gpt-4o", Tokens(input=1000, output=450), "0.007"),
        ("google", "gemini-2.5-pro", Tokens(input=1000, output=100), "0.00225"),
        ("google", "gemini-2.5-pro", Tokens(input=300_000, output=100), "0.7515"),
    ],
)  # fmt: skip
def test_paper_arithmetic(provider, model, tokens, usd):
    assert find(provider, model).cost_nusd(tokens) == Decimal(usd) * NUSD


def test_an_unknown_model_has_no_price():
    assert find("openai", "gpt-of-my-own") is None
    assert find("nobody", "gpt-4o") is None


def test_half_a_nano_dollar_is_rounded_up_once():
    price = find("openai", "gpt-4o-mini")
    assert price.cost_nusd(Tokens(input=1)) == 150
    assert price.hold_nusd(1, 1) >= price.cost_nusd(Tokens(input=1, output=1))


MODELS = [(name, model.id) for name, provider in table().providers.items() for model in provider.models]
SUPPORTED = {
    "input_mtok",
    "output_mtok",
    "cache_read_mtok",
    "cache_write_mtok",
    "cache_write_1h_mtok",
    "web_searches_kcount",
    "input_audio_mtok",
    "output_audio_mtok",
    "cache_audio_read_mtok",
}
count = st.integers(0, 400_000)


@given(
    chosen=st.sampled_from(MODELS),
    numbers=st.tuples(count, count, count, count),
    sound=st.tuples(*[st.sampled_from([0.0, 0.0, 0.4, 1.0])] * 3),
)
@settings(max_examples=400, deadline=None)
def test_the_package_agrees(chosen, numbers, sound):
    genai_prices = pytest.importorskip("genai_prices", reason="the oracle is only installed for development")
    fresh, read, written, output = numbers
    heard, heard_before, said = (
        int(share * number) for share, number in zip(sound, (fresh, read, output), strict=True)
    )
    provider, model = chosen
    usage = genai_prices.Usage(
        input_tokens=fresh + read + written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=output,
        input_audio_tokens=heard + heard_before,
        cache_audio_read_tokens=heard_before,
        output_audio_tokens=said,
    )
    try:
        theirs = genai_prices.calc_price(usage, model, provider_id=provider)
    except (LookupError, ValueError):
        return
    price = theirs.model_price
    if {
        key for key, value in vars(price).items() if value is not None
    } - SUPPORTED or price.input_mtok is None:
        return
    ours = find(provider, model).cost_nusd(
        Tokens(
            input=fresh,
            cache_read=read,
            cache_write=written,
            output=output,
            audio_input=heard,
            audio_cache_read=heard_before,
            audio_output=said,
        )
    )
    expected = (theirs.total_price * NUSD).quantize(Decimal(1), ROUND_HALF_UP)
    assert abs(ours - expected) <= 1, (provider, model, theirs.model.id, find(provider, model).matched)
