"""Try a provider with a real call and say in words what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from oqto_platform.errors import Invalid

from .meter import UNREADABLE
from .relay import whole
from .routing import Route
from .untaken import (
    ModelUnpriced,
    ProviderFailing,
    ProviderKeyRefused,
    ProviderModels,
    ProviderNoCredit,
    ProviderNotAnApi,
    ProviderUnreachable,
)
from .upstream import Timeouts, UpstreamFailed

if TYPE_CHECKING:
    from .providers import Provider
    from .upstream import Headers, Pool

MODELS_LIMIT = 200
EXCERPT = 300
NOT_FOR_CHAT = (
    "embed",
    "whisper",
    "tts",
    "dall-e",
    "image",
    "moderation",
    "audio",
    "realtime",
    "transcri",
    "sora",
    "davinci",
    "babbage",
)


PATIENCE = Timeouts(connect_s=10.0, first_byte_s=15.0, silence_s=15.0, total_s=15.0)
"""Somebody waits for the answer."""


class _Entry(msgspec.Struct):
    id: str = ""
    name: str = ""


class _List(msgspec.Struct):
    data: list[_Entry] = []
    models: list[_Entry] = []


async def probe(provider: Provider, pool: Pool, *, allow_unpriced: bool) -> Provider:
    """The provider with the models it offers, when it works. Raises `Invalid` with the reason and the repair."""
    if provider.is_demo:
        return provider
    status, body = await _get_models(provider, pool)
    if status >= 400:  # noqa: PLR2004 the first error status
        raise _refusal(provider, status, body)
    offered = _ids(provider, body)
    if provider.models:
        return _checked_models(provider, offered, allow_unpriced=allow_unpriced)
    usable = [model for model in offered if _is_usable(provider, model, allow_unpriced=allow_unpriced)]
    if not usable:
        raise _nothing_usable(provider, offered)
    return msgspec.structs.replace(provider, models=tuple(usable[:MODELS_LIMIT]))


async def _get_models(provider: Provider, pool: Pool) -> tuple[int, bytes]:
    route = Route("models", "chat", provider.name, "models")
    headers: Headers = [(b"accept", b"application/json"), (b"accept-encoding", b"identity"), *provider.auth()]
    if provider.kind == "anthropic":
        headers.append((b"anthropic-version", b"2023-06-01"))
    url = provider.url(route, "limit=1000" if provider.kind == "anthropic" else "")
    try:
        reply = await pool.request("GET", url, headers, b"", PATIENCE)
        try:
            return reply.status, await whole(reply)
        finally:
            reply.close()
    except UpstreamFailed as exc:
        text = f"{exc.detail}. Check base_url and that this server may reach it."
        raise ProviderUnreachable(f"{provider.name}: {text}", field="base_url") from exc


def _field(status: int) -> str:
    return "api_key" if status in (401, 402, 403, 429) else "base_url"


def _refusal(provider: Provider, status: int, body: bytes) -> Invalid:
    kind, reason = _reason(provider, status, said := _message(body))
    return kind(reason + (f" It said: {said}" if said else ""), field=_field(status))


def _reason(provider: Provider, status: int, said: str) -> tuple[type[Invalid], str]:
    name = provider.name
    if status in (401, 403):
        text = f"{name} does not accept the API key (status {status}). Copy it again from the provider's console."
        return ProviderKeyRefused, text
    # Some say it with 400 or 429, and in words only.
    if status == 402 or "credit" in said.lower() or "quota" in said.lower():  # noqa: PLR2004 payment required
        text = f"{name} accepts the key, but the account has no credit. Add some in the provider's console."
        return ProviderNoCredit, text
    if status in (404, 405):
        address = provider.base_url or provider.about.base_url
        return ProviderNotAnApi, f"There is no such API at {address}. Check base_url; most end in /v1."
    return ProviderFailing, f"{name} answered with status {status}. Try again later."


def _message(body: bytes) -> str:
    try:
        error = msgspec.json.decode(body)["error"]
        said = error["message"] if isinstance(error, dict) else error
    except (*UNREADABLE, KeyError, TypeError):
        said = body[:EXCERPT].decode(errors="replace") if not body.lstrip().startswith(b"<") else ""
    return str(said)[:EXCERPT]


def _ids(provider: Provider, body: bytes) -> list[str]:
    try:
        found = msgspec.json.decode(body, type=_List)
    except UNREADABLE as exc:
        where = provider.base_url or provider.about.base_url
        text = f"What answers at {where} is not an LLM API. Check base_url; most end in /v1."
        raise ProviderNotAnApi(text, field="base_url") from exc
    entries = found.data or found.models
    return [(entry.id or entry.name).removeprefix("models/") for entry in entries]


def _is_usable(provider: Provider, model: str, *, allow_unpriced: bool) -> bool:
    if any(word in model.lower() for word in NOT_FOR_CHAT):
        return False
    return allow_unpriced or provider.price(model) is not None


def _checked_models(provider: Provider, offered: list[str], *, allow_unpriced: bool) -> Provider:
    for model in provider.models:
        if offered and model not in offered:
            some = ", ".join(offered[:10])
            text = f"{provider.name} has no model {model!r}. It offers: {some}"
            raise ProviderModels(text, field="models")
        if not allow_unpriced and provider.price(model) is None:
            raise ModelUnpriced(_unpriced(provider, model), field="models")
    return provider


def _unpriced(provider: Provider, model: str) -> str:
    return (
        f"The price of {model!r} is not known, so its use could not be billed. "
        f"Set [eavs.providers.{provider.name}.prices], or allow_unpriced for models that cost nothing."
    )


def _nothing_usable(provider: Provider, offered: list[str]) -> Invalid:
    if not offered:
        text = f"{provider.name} works, but lists no models. Name some in models."
        return ProviderModels(text, field="models")
    return ModelUnpriced(_unpriced(provider, offered[0]), field="models")
