"""Commands that are one request to pi and one answer: what to send, and the answer in our words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from oqto_platform.canon import (
    AbortRetry,
    Command,
    Compact,
    CycleModel,
    CycleThinkingLevel,
    GetCommands,
    GetForkPoints,
    GetMessages,
    GetModels,
    GetState,
    GetStats,
    SetAutoCompaction,
    SetAutoRetry,
    SetModel,
    SetSessionName,
    SetThinkingLevel,
)
from oqto_platform.errors import AgentFailed, Invalid, NotFound, OqtoError
from oqto_runner.harness.pi.messages import history
from oqto_runner.harness.pi.talk import Talk
from oqto_runner.harness.pi.values import fraction, items, record, records, text, whole

TIMEOUT_S = 30.0
COMPACT_TIMEOUT_S = 600.0

Shape = Callable[[Talk, dict[str, Any]], Any]


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A request of pi and how its data becomes our answer."""

    request: str
    fields: dict[str, Any] = {}
    shape: Shape
    timeout_s: float = TIMEOUT_S


def query_for(command: Command) -> Query | None:
    """The request for `command`; `None` when it takes more than one."""
    plain = _PLAIN.get(type(command))
    if plain is not None:
        return Query(request=plain[0], shape=plain[1])
    if isinstance(command, Compact):
        words = {"customInstructions": command.instructions} if command.instructions else {}
        return Query(request="compact", fields=words, shape=_compacted, timeout_s=COMPACT_TIMEOUT_S)
    return _setting(command)


def _setting(command: Command) -> Query | None:
    match command:
        case SetModel(provider=provider, model_id=model):
            fields = {"provider": provider, "modelId": model}
            return Query(request="set_model", fields=fields, shape=_model_set)
        case SetThinkingLevel(level=level):
            return Query(request="set_thinking_level", fields={"level": level}, shape=_thinking)
        case SetSessionName(name=name):
            return Query(request="set_session_name", fields={"name": name}, shape=_nothing)
        case SetAutoCompaction() | SetAutoRetry():
            request = str(type(command).__struct_config__.tag)
            return Query(request=request, fields={"enabled": command.enabled}, shape=_nothing)
        case _:
            return None


def refusal(request: str, error: str) -> OqtoError:
    """Pi's "no" as the error that fits it."""
    if error.startswith(("Model not found", "Invalid entry ID")):
        return NotFound(f"pi: {error}")
    if request == "set_session_name":
        return Invalid(f"name: {error}")
    return AgentFailed(error if error.startswith("pi ") else f"pi: {error}")


def _nothing(talk: Talk, data: dict[str, Any]) -> Any:
    return None


def _state(talk: Talk, data: dict[str, Any]) -> Any:
    talk.facts.state(data)
    facts, model = talk.facts, record(data, "model")
    return {
        "is_working": talk.turn.is_open,
        "is_compacting": data.get("isCompacting") is True,
        "provider": facts.provider,
        "model_id": facts.model,
        "context_window": whole(model, "contextWindow"),
        "has_reasoning": model.get("reasoning") is True,
        "input": items(model, "input"),
        "thinking_level": facts.thinking,
        "auto_compaction": data.get("autoCompactionEnabled") is True,
        "session_path": facts.session_file,
        "external_id": facts.external_id,
        "title": facts.title,
        "message_count": whole(data, "messageCount"),
        "queue": {"steering": list(facts.steering), "follow_up": list(facts.follow_up)},
    }


def _messages(talk: Talk, data: dict[str, Any]) -> Any:
    messages = history(records(data, "messages"), talk.mint)
    return {"messages": [msgspec.to_builtins(message) for message in messages]}


def _stats(talk: Talk, data: dict[str, Any]) -> Any:
    tokens, context = record(data, "tokens"), record(data, "contextUsage")
    return {
        "session_path": text(data, "sessionFile"),
        "user_messages": whole(data, "userMessages"),
        "assistant_messages": whole(data, "assistantMessages"),
        "tool_calls": whole(data, "toolCalls"),
        "tool_results": whole(data, "toolResults"),
        "tokens": {
            "input": whole(tokens, "input"),
            "output": whole(tokens, "output"),
            "cache_read": whole(tokens, "cacheRead"),
            "cache_write": whole(tokens, "cacheWrite"),
            "total": whole(tokens, "total"),
        },
        "cost_usd": fraction(data, "cost") or 0.0,
        "context_tokens": whole(context, "tokens") if "tokens" in context else None,
        "context_window": whole(context, "contextWindow") if "contextWindow" in context else None,
        "context_percent": fraction(context, "percent"),
    }


def _models(talk: Talk, data: dict[str, Any]) -> Any:
    return {"models": [_model(model) for model in records(data, "models")]}


def _model(model: dict[str, Any]) -> dict[str, Any]:
    cost = record(model, "cost")
    return {
        "provider": text(model, "provider"),
        "id": text(model, "id"),
        "name": text(model, "name"),
        "reasoning": model.get("reasoning") is True,
        "input": items(model, "input"),
        "context_window": whole(model, "contextWindow"),
        "max_tokens": whole(model, "maxTokens"),
        "cost_input": fraction(cost, "input") or 0.0,
        "cost_output": fraction(cost, "output") or 0.0,
        "cost_cache_read": fraction(cost, "cacheRead") or 0.0,
        "cost_cache_write": fraction(cost, "cacheWrite") or 0.0,
    }


def _commands(talk: Talk, data: dict[str, Any]) -> Any:
    kept = [
        {"name": text(one, "name"), "description": text(one, "description"), "source": text(one, "source")}
        for one in records(data, "commands")
    ]
    return {"commands": kept}


def _fork_points(talk: Talk, data: dict[str, Any]) -> Any:
    points = records(data, "messages")
    return {"points": [{"entry_id": text(one, "entryId"), "text": text(one, "text")} for one in points]}


def _model_set(talk: Talk, data: dict[str, Any]) -> Any:
    talk.facts.model_is(data)
    return {"provider": talk.facts.provider, "model_id": talk.facts.model}


def _model_cycled(talk: Talk, data: dict[str, Any]) -> Any:
    talk.facts.model_is(record(data, "model"))
    talk.facts.thinking_is(text(data, "thinkingLevel"))
    return {"provider": talk.facts.provider, "model_id": talk.facts.model}


def _thinking(talk: Talk, data: dict[str, Any]) -> Any:
    talk.facts.thinking_is(text(data, "level"))
    return {"level": talk.facts.thinking}


def _compacted(talk: Talk, data: dict[str, Any]) -> Any:
    return {"summary": text(data, "summary"), "tokens_before": whole(data, "tokensBefore")}


_PLAIN: dict[type[Any], tuple[str, Shape]] = {
    GetState: ("get_state", _state),
    GetMessages: ("get_messages", _messages),
    GetStats: ("get_session_stats", _stats),
    GetModels: ("get_available_models", _models),
    GetCommands: ("get_commands", _commands),
    GetForkPoints: ("get_fork_messages", _fork_points),
    CycleModel: ("cycle_model", _model_cycled),
    CycleThinkingLevel: ("cycle_thinking_level", _thinking),
    AbortRetry: ("abort_retry", _nothing),
}
