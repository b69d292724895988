"""The section `[eavs]`."""

from __future__ import annotations

from math import inf
from typing import Annotated, Literal
from urllib.parse import urlsplit

from oqto_platform.settings import Secret, Section, key

from .prices import MOST_PRICE
from .rates import MOST as MOST_RATE

KindName = Literal[
    "openai", "anthropic", "google", "azure", "openrouter", "groq", "mistral", "deepseek", "xai", "ollama",
    "openai-compatible", "demo",
]  # fmt: skip
WindowName = Literal["total", "day", "week", "month"]

MOST_USD = 1_000_000_000
BUDGETS = ("default_session_budget_usd", "account_budget_usd", "platform_budget_usd")


class ModelPrice(Section, frozen=True):
    """`[eavs.providers.NAME.prices.MODEL]`: US dollars per million tokens; overrides the built-in table."""

    input: Annotated[float, key("Price of a million input tokens, in USD.", ge=0, le=MOST_PRICE)]
    output: Annotated[float, key("Price of a million output tokens, in USD.", ge=0, le=MOST_PRICE)]
    cache_read: Annotated[float | None, key("Price of a million cached input tokens; unset: as input.")] = (
        None
    )
    cache_write: Annotated[
        float | None, key("Price of a million tokens written to the cache; unset: as input.")
    ] = None


class ProviderConfig(Section, frozen=True):
    """`[eavs.providers.NAME]`: one upstream."""

    kind: Annotated[KindName, key("What it is: openai, anthropic, google, openrouter, openai-compatible, …")]
    base_url: Annotated[str, key("Address of its API; unset: the vendor's own.")] = ""
    api_key: Annotated[Secret, key("Its key: env:NAME, file:PATH or the text itself.")] = Secret("")
    title: Annotated[str, key("Name to show.")] = ""
    models: Annotated[tuple[str, ...], key("Models that may be used; unset: every priced one.")] = ()
    aliases: Annotated[dict[str, str], key('Other names of models: alias = "model".')] = {}  # noqa: RUF012 a struct copies its defaults
    prices: Annotated[dict[str, ModelPrice], key("Prices by model, which override the built-in table.")] = {}  # noqa: RUF012 a struct copies its defaults
    headers: Annotated[dict[str, Secret], key("Headers to add to every call.")] = {}  # noqa: RUF012 a struct copies its defaults
    allow_unpriced: Annotated[bool, key("Let models without a known price pass, billed at nothing.")] = False
    allow_models: Annotated[
        tuple[str, ...], key("Patterns of models that may be used, with `*`; unset: all.")
    ] = ()
    deny_models: Annotated[
        tuple[str, ...], key("Patterns of models that may not be used, whatever allows them.")
    ] = ()
    stream_options: Annotated[
        bool,
        key(
            "Whether it knows `stream_options`, by which a stream of chat is asked for its counts; false for servers"
            " that refuse it, which then count by themselves or are estimated. Mistral never gets it."
        ),
    ] = True
    connect_timeout_s: Annotated[
        float, key("How long a connection may take, in seconds, TLS included.", ge=1, le=600)
    ] = 10.0
    first_byte_timeout_s: Annotated[
        float,
        key(
            "How long it may think before its reply begins, in seconds; a model that reasons is silent for minutes.",
            ge=1,
            le=86_400,
        ),
    ] = 600.0
    idle_timeout_s: Annotated[
        float, key("How long a reply that has begun may say nothing, in seconds.", ge=1, le=86_400)
    ] = 600.0
    total_timeout_s: Annotated[
        float, key("How long a reply may take from its beginning to its end, in seconds.", ge=1, le=86_400)
    ] = 3600.0
    fallback: Annotated[
        tuple[str, ...],
        key("Who answers when this one refuses or cannot be reached: NAME, or NAME/MODEL; tried in order."),
    ] = ()


class Eavs(Section, frozen=True):
    """The LLM proxy."""

    enabled: Annotated[
        bool, key("Give agents models through the LLM proxy; without it they have none.", restart=True)
    ] = True
    base_url: Annotated[
        str,
        key(
            "Address of the proxy: a port of this machine, or an EAVS elsewhere (see master_key).",
            restart=True,
        ),
    ] = "http://localhost:41800"
    container_url: Annotated[
        str, key("Address of the proxy as containers see it.", needs="container sessions")
    ] = "http://host.containers.internal:41800"
    master_key: Annotated[
        Secret,
        key(
            "Admin key of an EAVS that is already there: keys are made at base_url, and nothing is started.",
            restart=True,
        ),
    ] = Secret("")
    default_session_budget_usd: Annotated[
        float, key("What a session may spend in its whole life, in USD; inf for no limit.", ge=0)
    ] = 10.0
    default_session_rpm: Annotated[
        int, key("Calls per minute of a session; 0 for no limit.", ge=0, le=MOST_RATE)
    ] = 60
    default_session_tpm: Annotated[
        int, key("Tokens per minute of a session, prompts and replies; 0 for no limit.", ge=0, le=MOST_RATE)
    ] = 0
    default_session_concurrent_calls: Annotated[
        int, key("Calls of a session at the same time; 0 for no limit.", ge=0, le=MOST_RATE)
    ] = 0
    account_budget_usd: Annotated[
        float, key("What an account may spend per account_budget_window, in USD.", ge=0)
    ] = float("inf")
    account_budget_window: Annotated[
        WindowName, key("When the account's budget opens again: day, week, month (UTC), total.")
    ] = "month"
    platform_budget_usd: Annotated[
        float, key("What everybody together may spend per platform_budget_window.", ge=0)
    ] = float("inf")
    platform_budget_window: Annotated[WindowName, key("When the platform's budget opens again.")] = "month"
    allow_account_keys: Annotated[
        bool, key("Let people make keys for programs of their own, which spend from their account's budget.")
    ] = False
    allow_unpriced: Annotated[bool, key("Let models without a known price pass, billed at nothing.")] = False
    hold_output_tokens: Annotated[
        int, key("Output tokens to set money aside for, at most, per call.", ge=1, le=1_000_000)
    ] = 8_192
    max_body_mb: Annotated[int, key("Longest request, in MiB.", ge=1, le=1024)] = 64
    ca_file: Annotated[
        str, key("Certificates to trust for providers instead of the system's.", restart=True, expand=True)
    ] = ""
    workers: Annotated[
        int,
        key(
            "Processes that relay calls. 1 serves a whole host of agents; above it they are beside the ledger's process.",
            restart=True,
            ge=1,
            le=64,
        ),
    ] = 1
    llm_socket_mode: Annotated[
        Literal["600", "660", "666"], key("Who may connect to the proxy's Unix socket.", restart=True)
    ] = "600"
    providers: Annotated[dict[str, ProviderConfig], key("The upstreams, by name.")] = {}  # noqa: RUF012 a struct copies its defaults

    def check(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"base_url: {self.base_url!r} is no address, such as http://localhost:41800")
        for name in BUDGETS:
            _check_budget(name, getattr(self, name))
        for name, provider in self.providers.items():
            for model, price in provider.prices.items():
                _check_cache(f"providers.{name}.prices.{model}", price)


def _check_budget(name: str, usd: float) -> None:
    if not (usd <= MOST_USD or usd == inf):
        raise ValueError(f"{name}: {usd:g} is no budget; use 0 to {MOST_USD}, or inf for none")


def _check_cache(where: str, price: ModelPrice) -> None:
    for name, usd in (("cache_read", price.cache_read), ("cache_write", price.cache_write)):
        if usd is not None and not 0 <= usd <= MOST_PRICE:
            raise ValueError(f"{where}.{name}: {usd:g} is no price; use 0 to {MOST_PRICE}")
