"""Pi's private folder of a session: models, settings, no credentials.

Written afresh at every start. The key of the LLM proxy stays in the environment; the files only name
the variable. The person's own `~/.pi` is neither read nor written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from oqto_platform.types import ModelInfo, ModelSource, Session
from oqto_runner.harness.pi.private import make_private_folder, write_private
from oqto_runner.harness.pi.program import Version

DOLLAR_SINCE: Version = (0, 80)
"""From here on `$NAME` in `apiKey` names a variable; before, the bare name did."""


def write_agent_dir(
    folder: Path, session: Session, sources: tuple[ModelSource, ...], version: Version
) -> None:
    """`models.json`, `settings.json` and an empty `auth.json` (all 0600) in `folder` (0700)."""
    make_private_folder(folder)
    write_private(folder / "models.json", _json({"providers": _providers(sources, version)}))
    write_private(folder / "settings.json", _json(_settings(session, sources)))
    write_private(folder / "auth.json", b"{}\n")


def _providers(sources: tuple[ModelSource, ...], version: Version) -> dict[str, Any]:
    return {source.name: _provider(source, version) for source in sources}


def _provider(source: ModelSource, version: Version) -> dict[str, Any]:
    reference = source.key_env if version < DOLLAR_SINCE else f"${source.key_env}"
    return {
        "name": source.title or source.name,
        "baseUrl": source.base_url,
        "api": source.api,
        # pi does not offer a provider without a key; a source that asks for none gets a word.
        "apiKey": reference if source.key_env else "none",
        "models": [_model(model) for model in source.models],
    }


def _model(model: ModelInfo) -> dict[str, Any]:
    return {
        "id": model.id,
        "name": model.name or model.id,
        "reasoning": model.reasoning,
        "input": list(model.input),
        "contextWindow": model.context_window,
        "maxTokens": model.max_tokens,
        "cost": {
            "input": model.cost_input,
            "output": model.cost_output,
            "cacheRead": model.cost_cache_read,
            "cacheWrite": model.cost_cache_write,
        },
        # Proxies reject the role `developer`, which pi ≥0.8 sends to reasoning models.
        "compat": {"supportsDeveloperRole": False},
    }


def _settings(session: Session, sources: tuple[ModelSource, ...]) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "enableInstallTelemetry": False,
        "quietStartup": True,
        # Requests nobody asked for would be billed to the session.
        "cacheWarming": "off",
        "retry": {"enabled": True, "maxRetries": 3, "baseDelayMs": 2000, "provider": {"maxRetries": 0}},
    }
    provider, model = default_model(session, sources)
    if provider:
        settings["defaultProvider"] = provider
    if model:
        settings["defaultModel"] = model
    return settings


def default_model(session: Session, sources: tuple[ModelSource, ...]) -> tuple[str, str]:
    """Provider and model to begin with: the session's, else the first that there is."""
    source = next((one for one in sources if one.name == session.provider), None)
    if source is None and not session.provider:
        source = next((one for one in sources if not session.model or _has(one, session.model)), None)
    provider = session.provider or (source.name if source else "")
    first = source.models[0].id if source and source.models else ""
    return provider, session.model or first


def _has(source: ModelSource, model: str) -> bool:
    return any(one.id == model for one in source.models)


def _json(content: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
