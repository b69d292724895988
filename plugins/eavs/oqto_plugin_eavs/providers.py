"""
Providers: what kinds there are, how each is addressed and paid, and which are in use.

The registry is swapped entry by entry while calls run; a running call keeps the provider it began with.
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from oqto_platform.errors import Invalid
from oqto_platform.types import ModelInfo, ModelSource

from . import prices as price_list
from .prices import MOST_PRICE
from .upstream import Timeouts, Url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .routing import Route
    from .upstream import Headers

Api = Literal["openai-completions", "openai-responses", "anthropic-messages", "google-generative-ai"]
NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}$")
RESERVED = {"p", "v1", "v1beta", "health", "metrics", "models"}
THINKS = re.compile(
    r"(^|/)(o\d|gpt-5|gpt-oss|claude-(opus|sonnet|haiku)-[4-9]|gemini-(2\.5|3)|deepseek-r|magistral|grok-[4-9])|reason|think"
)
SEES = re.compile(r"(^|/)(gpt-4o|gpt-4\.1|gpt-5|o[34]|claude|gemini|pixtral|grok-[4-9])")


class Kind(msgspec.Struct, frozen=True):
    """What is known about a vendor: address, key header, dialects, price list, and pi's name for the wire."""

    title: str
    base_url: str
    auth: Literal["bearer", "x-api-key", "x-goog-api-key", "api-key", "none"]
    actions: tuple[str, ...]
    prices: str
    api: Api


_CHAT = ("chat", "embeddings", "models")
KINDS: dict[str, Kind] = {
    "openai": Kind(
        "OpenAI",
        "https://api.openai.com/v1",
        "bearer",
        (*_CHAT, "responses", "realtime"),
        "openai",
        "openai-responses",
    ),
    "anthropic": Kind(
        "Anthropic",
        "https://api.anthropic.com",
        "x-api-key",
        ("messages", "count", "models"),
        "anthropic",
        "anthropic-messages",
    ),
    "google": Kind(
        "Google Gemini",
        "https://generativelanguage.googleapis.com/v1beta",
        "x-goog-api-key",
        ("gemini", "count", "models"),
        "google",
        "google-generative-ai",
    ),
    "azure": Kind(
        "Azure OpenAI", "", "api-key", (*_CHAT, "responses", "realtime"), "azure", "openai-responses"
    ),
    "openrouter": Kind(
        "OpenRouter", "https://openrouter.ai/api/v1", "bearer", _CHAT, "openrouter", "openai-completions"
    ),
    "groq": Kind("Groq", "https://api.groq.com/openai/v1", "bearer", _CHAT, "groq", "openai-completions"),
    "mistral": Kind("Mistral", "https://api.mistral.ai/v1", "bearer", _CHAT, "mistral", "openai-completions"),
    "deepseek": Kind(
        "DeepSeek", "https://api.deepseek.com/v1", "bearer", _CHAT, "deepseek", "openai-completions"
    ),
    "xai": Kind("xAI", "https://api.x.ai/v1", "bearer", _CHAT, "x-ai", "openai-completions"),
    "ollama": Kind("Ollama", "http://127.0.0.1:11434/v1", "none", _CHAT, "", "openai-completions"),
    "openai-compatible": Kind(
        "OpenAI-compatible", "", "bearer", (*_CHAT, "responses", "realtime"), "", "openai-completions"
    ),
    "demo": Kind("Demo model (no key needed)", "", "none", ("chat", "models"), "", "openai-completions"),
}


Usd = Annotated[float, msgspec.Meta(ge=0, le=MOST_PRICE)]


class ModelCost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price that overrides the table, USD per million tokens."""

    input: Usd
    output: Usd
    cache_read: Usd | None = None
    cache_write: Usd | None = None


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream. `api_key` is the text itself or `env:NAME` / `file:PATH`, read at each use."""

    name: str
    kind: str
    base_url: str = ""
    api_key: str = ""
    title: str = ""
    models: tuple[str, ...] = ()
    aliases: dict[str, str] = {}
    prices: dict[str, ModelCost] = {}
    headers: dict[str, str] = {}
    allow_unpriced: bool = False
    allow_models: tuple[str, ...] = ()
    deny_models: tuple[str, ...] = ()
    fallback: tuple[str, ...] = ()
    stream_options: bool = True
    timeouts: Timeouts = Timeouts()
    source: Literal["config", "admin", "built in"] = "admin"

    @property
    def about(self) -> Kind:
        """The facts of its kind."""
        return KINDS[self.kind]

    @property
    def is_demo(self) -> bool:
        """Whether it answers from inside, without a real model."""
        return self.kind == "demo"

    @property
    def takes_stream_options(self) -> bool:
        """Whether a stream may be asked for its counts: Mistral refuses that and sends them all the same."""
        return self.stream_options and self.kind != "mistral"

    def key(self) -> str:
        """The secret to send; raises `Invalid` when the reference leads nowhere."""
        return resolve(self.api_key, self.name)

    def checked(self) -> Provider:
        """The provider itself when it can work; raises `Invalid` that names the field and the repair."""
        if not NAME.match(self.name) or self.name in RESERVED:
            raise Invalid(
                f"provider name {self.name!r}: use lower-case letters, digits, - and _", field="name"
            )
        if self.kind not in KINDS:
            raise Invalid(f"provider kind {self.kind!r} is unknown; known: {', '.join(KINDS)}", field="kind")
        if any(entry.partition("/")[0] == self.name for entry in self.fallback):
            raise Invalid(f"provider {self.name}: fallback names itself", field="fallback")
        if not self.is_demo:
            _check_url(self.base_url or self.about.base_url, self.name)
        return self

    def price(self, model: str, tier: str = "", at: float | None = None) -> price_list.Price | None:
        """What `model` costs here, or `None` when nobody said."""
        if (own := self.prices.get(model)) is not None:
            return price_list.flat_price(
                f"{self.name}:{model}", own.input, own.output, own.cache_read, own.cache_write
            )
        if self.is_demo or self.kind == "ollama":
            return price_list.FREE
        found = price_list.find(self.about.prices, model, tier=tier, at=at)
        return price_list.FREE if found is None and self.allow_unpriced else found

    def url(self, route: Route, query: str) -> Url:
        """Where a call of `route` goes."""
        return _url(self.kind, self.base_url or self.about.base_url, route.path, query)

    def auth(self) -> Headers:
        """The headers that carry the provider's own key."""
        extra = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()
        ]
        if not (secret := self.key()) or self.about.auth == "none":
            return extra
        if self.about.auth == "bearer":
            return [(b"authorization", b"Bearer " + secret.encode("latin-1")), *extra]
        return [(self.about.auth.encode(), secret.encode("latin-1")), *extra]

    def offered(self) -> tuple[str, ...]:
        """Models to choose from: those listed, else those that the price table knows for chatting."""
        if self.is_demo:
            return ("demo",)
        if self.models:
            named = (*self.models, *(name for name in self.aliases if name not in self.models))
            return tuple(filter(self._is_let, named))
        known = price_list.table().providers.get(self.about.prices)
        priced = (
            tuple(m.id for m in known.models if {"input", "output"} <= set(m.prices[-1])) if known else ()
        )
        return tuple(filter(self._is_let, (*self.aliases, *priced)))

    def offers(self, model: str) -> bool:
        """Whether `model` may be called: a list allows what it names, no list allows all; `deny_models` has the last word."""
        return (not self.models or model in self.models or model in self.aliases) and self._is_let(model)

    def _is_let(self, model: str) -> bool:
        names = (model, self.aliases.get(model, model))
        if any(fnmatchcase(name, pattern) for name in names for pattern in self.deny_models):
            return False
        return not self.allow_models or any(
            fnmatchcase(name, pattern) for name in names for pattern in self.allow_models
        )

    def fallbacks(self) -> Iterator[tuple[str, str]]:
        """Who answers in its place, as (provider, model); an empty model is the one that was asked for."""
        for entry in self.fallback:
            name, _, model = entry.partition("/")
            yield name, model

    def info(self, model: str) -> ModelInfo:
        """A model as an agent should know it."""
        price = self.price(self.aliases.get(model, model)) or price_list.FREE
        thinks, context = self.is_demo or bool(THINKS.search(model)), price.context or 128_000
        usd = [rate[0] / 1e9 for rate in (price.input, price.output, price.cache_read, price.cache_write)]
        return ModelInfo(
            id=model,
            name="Demo (no real model)" if self.is_demo else price.name or model,
            reasoning=thinks,
            input=("text", "image") if SEES.search(model) else ("text",),
            context_window=context,
            max_tokens=min(32_000 if thinks else 8_192, context),
            cost_input=usd[0],
            cost_output=usd[1],
            cost_cache_read=usd[2],
            cost_cache_write=usd[3],
        )

    def model_source(self, proxy_url: str, key_env: str) -> ModelSource:
        """The provider as an agent sees it: behind the proxy, with a virtual key."""
        ends = {"anthropic-messages": "", "google-generative-ai": "/v1beta"}
        return ModelSource(
            name=self.name,
            title=self.title or self.about.title,
            api=self.about.api,
            base_url=f"{proxy_url}/p/{self.name}{ends.get(self.about.api, '/v1')}",
            key_env=key_env,
            models=tuple(self.info(model) for model in self.offered()),
            is_demo=self.is_demo,
        )


DEMO = Provider(name="demo", kind="demo", source="built in")


LOST = "lost:"
"""What stands for a stored key that cannot be read any more, and why."""


def is_fixed(reference: str) -> bool:
    """Whether a secret is the text itself, and need not be read again at each use."""
    return not reference.startswith(("env:", "file:", LOST))


def resolve(reference: str, name: str, environment: Mapping[str, str] = os.environ) -> str:
    """The secret behind `env:NAME`, `file:PATH` or the text itself. Raises `Invalid`."""
    kind, _, target = reference.partition(":")
    if kind == "env":
        if target not in environment:
            raise Invalid(
                f"provider {name}: api_key names the environment variable {target}, which is not set",
                field="api_key",
            )
        return environment[target]
    if reference.startswith(LOST):
        raise Invalid(target)
    if kind != "file":
        return reference
    try:
        return Path(target).expanduser().read_text().strip()
    except OSError as exc:
        raise Invalid(f"provider {name}: api_key names the file {target}: {exc.strerror}") from exc


def _check_url(url: str, name: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Invalid(f"provider {name}: base_url {url!r} must look like https://host/v1", field="base_url")
    if parts.username or parts.password:
        raise Invalid(f"provider {name}: base_url holds a password; put it in api_key", field="base_url")


@lru_cache(maxsize=1024)
def _url(kind: str, base: str, path: str, query: str) -> Url:
    base = base.rstrip("/")
    if kind == "anthropic":
        base = base.removesuffix("/v1") + "/v1"
    elif kind == "azure":
        base = base.removesuffix("/openai/v1") + "/openai/v1"
    return Url.of(f"{base}/{path}" + (f"?{query}" if query else ""))


class Registry:
    """The providers in use, by name. `demo` is always there."""

    def __init__(self) -> None:
        self._providers: dict[str, Provider] = {DEMO.name: DEMO}
        self.version = 0
        """Counts the changes."""
        self.names = frozenset(self._providers)
        """Every name, `demo` included."""

    def _changed(self) -> None:
        self.version += 1
        self.names = frozenset(self._providers)

    def all(self) -> list[Provider]:
        """Real ones first, in alphabetical order, the demo last."""
        return sorted(self._providers.values(), key=lambda p: (p.is_demo, p.name))

    def get(self, name: str) -> Provider | None:
        """The provider of that name."""
        return self._providers.get(name)

    def put(self, provider: Provider) -> None:
        """Add or replace one."""
        self._providers[provider.name] = provider
        self._changed()

    def replace(self, providers: Iterable[Provider]) -> None:
        """Use exactly these."""
        self._providers = {provider.name: provider for provider in providers}
        self._changed()

    def drop(self, name: str) -> None:
        """Forget one; the built-in demo comes back in its place."""
        self._providers.pop(name, None)
        self._providers.setdefault(DEMO.name, DEMO)
        self._changed()

    def with_model(self, model: str) -> Provider | None:
        """The provider that offers `model`, real ones before the demo."""
        return next((p for p in self.all() if model in p.offered()), None)
