"""
Read what a reply cost while it passes: one meter per dialect, plain and streamed.

Where the counts stand and what they include follows the vendors' references: OpenAI and Gemini count the
cached part inside the prompt, Anthropic beside it; Anthropic and Gemini repeat running totals, so the last
value wins and nothing is added up.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from .meter import Count, Meter
from .prices import Tokens


class _Struct(msgspec.Struct):
    pass


class _ChatDetails(_Struct):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    audio_tokens: Count | None = None


class _ReasoningDetails(_Struct):
    reasoning_tokens: Count | None = None
    audio_tokens: Count | None = None


_PLAIN_PROMPT, _PLAIN = _ChatDetails(), _ReasoningDetails()


class _ChatUsage(_Struct):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: _ChatDetails | None = None
    completion_tokens_details: _ReasoningDetails | None = None
    prompt_cache_hit_tokens: Count | None = None

    def tokens(self) -> Tokens | None:
        """Normal form, or `None` when the object is empty."""
        if self.prompt_tokens is None and self.completion_tokens is None:
            return None
        if not (self.prompt_tokens_details or self.completion_tokens_details or self.prompt_cache_hit_tokens):
            return Tokens(input=max(0, self.prompt_tokens or 0), output=self.completion_tokens or 0)
        details, said = self.prompt_tokens_details or _PLAIN_PROMPT, self.completion_tokens_details or _PLAIN
        cached = details.cached_tokens or self.prompt_cache_hit_tokens or 0
        written = details.cache_write_tokens or 0
        return Tokens(
            input=(fresh := max(0, (self.prompt_tokens or 0) - cached - written)),
            cache_read=cached,
            cache_write=written,
            output=(output := self.completion_tokens or 0),
            reasoning=said.reasoning_tokens or 0,
            audio_input=min(details.audio_tokens or 0, fresh),
            audio_output=min(said.audio_tokens or 0, output),
        )


class _ChatDelta(_Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: msgspec.Raw | None = None


class _ChatChoice(_Struct):
    delta: _ChatDelta | None = None
    usage: _ChatUsage | None = None


class _Groq(_Struct):
    usage: _ChatUsage | None = None


class _ChatChunk(_Struct):
    model: str | None = None
    usage: _ChatUsage | None = None
    choices: list[_ChatChoice] | None = None
    service_tier: str | None = None
    error: msgspec.Raw | None = None
    x_groq: _Groq | None = None


class ChatMeter(Meter):
    """OpenAI chat completions, and embeddings, whose counts look the same."""

    _decode: ClassVar = staticmethod(msgspec.json.Decoder(_ChatChunk).decode)

    def read(self, data: bytes) -> bool:
        if not data or data == b"[DONE]":
            return True
        chunk = self._decode(data)
        inner = None
        for choice in chunk.choices or ():
            if (delta := choice.delta) is not None:  # what was written, roughly
                self.text_bytes += len(delta.content or "") + len(delta.tool_calls or b"")
                self.text_bytes += len(delta.reasoning_content or delta.reasoning or "")
            inner = inner or choice.usage
        if not (inner or chunk.usage or chunk.x_groq or chunk.error or chunk.service_tier):
            self.model = chunk.model or self.model  # as most chunks are
            return True
        self._note(chunk, inner)
        return not (self.strips and chunk.usage is not None and not chunk.choices and chunk.error is None)

    def _note(self, chunk: _ChatChunk, inner: _ChatUsage | None) -> None:
        if chunk.model:
            self.model = chunk.model
        if chunk.service_tier:
            self.tier = chunk.service_tier
        found = chunk.usage or (chunk.x_groq.usage if chunk.x_groq else None) or inner
        if found is not None and (tokens := found.tokens()) is not None:
            self.tokens = tokens
            self.is_final = not chunk.choices or found is not chunk.usage

    def _whole(self, data: bytes) -> None:
        chunk = self._decode(data)
        inner = None
        if chunk.usage is None:
            inner = next((choice.usage for choice in chunk.choices or () if choice.usage), None)
        self._note(chunk, inner)
        self.is_final = self.tokens is not None


class _CacheCreation(_Struct):
    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class _ServerTools(_Struct):
    web_search_requests: Count | None = None


class _MessagesUsage(_Struct):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_creation: _CacheCreation | None = None
    server_tool_use: _ServerTools | None = None
    service_tier: str | None = None

    def over(self, old: Tokens | None) -> Tokens | None:
        """The counts after this report: a field that it names replaces the old one."""
        if self.input_tokens is None and self.output_tokens is None:
            return old
        old = old or Tokens()
        hour = self.cache_creation.ephemeral_1h_input_tokens if self.cache_creation else None
        hour = old.cache_write_1h if hour is None else hour
        written = self.cache_creation_input_tokens
        searches = self.server_tool_use.web_search_requests if self.server_tool_use else None
        return Tokens(
            input=_or(self.input_tokens, old.input),
            output=_or(self.output_tokens, old.output),
            cache_read=_or(self.cache_read_input_tokens, old.cache_read),
            cache_write=old.cache_write if written is None else max(0, written - hour),
            cache_write_1h=hour,
            web_searches=_or(searches, old.web_searches),
        )


def _or(new: int | None, old: int) -> int:
    return old if new is None else new


class _MessagesDelta(_Struct):
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None


class _Message(_Struct):
    model: str | None = None
    usage: _MessagesUsage | None = None


class _MessagesEvent(_Struct):
    message: _Message | None = None
    delta: _MessagesDelta | None = None
    usage: _MessagesUsage | None = None


class MessagesMeter(Meter):
    """Anthropic messages."""

    _decoder: ClassVar = msgspec.json.Decoder(_MessagesEvent)
    _reply: ClassVar = msgspec.json.Decoder(_Message)

    def read(self, data: bytes) -> bool:
        if not data:
            return True
        event = self._decoder.decode(data)
        if event.message is not None:
            self.model = event.message.model or self.model
            self._note(event.message.usage)
        if event.delta is not None:
            written = event.delta.text or event.delta.thinking or event.delta.partial_json or ""
            self.text_bytes += len(written)
        if event.usage is not None:
            self._note(event.usage)
            self.is_final = self.tokens is not None and event.usage.output_tokens is not None
        return True

    def _note(self, usage: _MessagesUsage | None) -> None:
        if usage is not None:
            self.tokens = usage.over(self.tokens)
            self.tier = usage.service_tier or self.tier

    def _whole(self, data: bytes) -> None:
        message = self._reply.decode(data)
        self.model = message.model or ""
        self._note(message.usage)
        self.is_final = self.tokens is not None


class _InputDetails(_Struct):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None


class _ResponsesUsage(_Struct):
    input_tokens: Count = 0
    output_tokens: Count = 0
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _ReasoningDetails | None = None

    def tokens(self) -> Tokens:
        """Normal form."""
        details = self.input_tokens_details or _InputDetails()
        cached, written = details.cached_tokens or 0, details.cache_write_tokens or 0
        reasoning = (self.output_tokens_details or _ReasoningDetails()).reasoning_tokens or 0
        fresh = max(0, self.input_tokens - cached - written)
        return Tokens(
            input=fresh,
            cache_read=cached,
            cache_write=written,
            output=self.output_tokens,
            reasoning=reasoning,
        )


class _Response(_Struct):
    model: str | None = None
    usage: _ResponsesUsage | None = None
    service_tier: str | None = None


class _ResponsesEvent(_Struct):
    response: _Response | None = None
    delta: Any = None


class ResponsesMeter(Meter):
    """OpenAI responses: the counts come with the event that ends the response."""

    _decoder: ClassVar = msgspec.json.Decoder(_ResponsesEvent)
    _reply: ClassVar = msgspec.json.Decoder(_Response)

    def read(self, data: bytes) -> bool:
        if not data or data == b"[DONE]":
            return True
        event = self._decoder.decode(data)
        if event.response is not None:
            self._note(event.response)
        if isinstance(event.delta, str):
            self.text_bytes += len(event.delta)
        return True

    def _note(self, response: _Response) -> None:
        self.model = response.model or self.model
        self.tier = response.service_tier or self.tier
        if response.usage is not None:
            self.tokens, self.is_final = response.usage.tokens(), True

    def _whole(self, data: bytes) -> None:
        self._note(self._reply.decode(data))


class _GeminiUsage(_Struct):
    promptTokenCount: Count | None = None  # noqa: N815 the vendor's names
    candidatesTokenCount: Count | None = None  # noqa: N815
    thoughtsTokenCount: Count | None = None  # noqa: N815
    cachedContentTokenCount: Count | None = None  # noqa: N815
    toolUsePromptTokenCount: Count | None = None  # noqa: N815

    def tokens(self) -> Tokens:
        """Normal form: thoughts are output, the prompts of tools are input."""
        cached, thoughts = self.cachedContentTokenCount or 0, self.thoughtsTokenCount or 0
        prompt = (self.promptTokenCount or 0) + (self.toolUsePromptTokenCount or 0)
        output = (self.candidatesTokenCount or 0) + thoughts
        return Tokens(input=max(0, prompt - cached), cache_read=cached, output=output, reasoning=thoughts)


class _GeminiReply(_Struct):
    usageMetadata: _GeminiUsage | None = None  # noqa: N815
    modelVersion: str | None = None  # noqa: N815
    candidates: list[dict[str, Any]] | None = None


class GeminiMeter(Meter):
    """Gemini generateContent, as events or as one JSON array that arrives in pieces."""

    _decoder: ClassVar = msgspec.json.Decoder(_GeminiReply)
    _many: ClassVar = msgspec.json.Decoder(list[_GeminiReply] | _GeminiReply)

    def read(self, data: bytes) -> bool:
        if data:
            self._note(self._decoder.decode(data), len(data))
        return True

    def _note(self, reply: _GeminiReply, size: int) -> None:
        self.model = reply.modelVersion or self.model
        if reply.usageMetadata is not None:
            self.tokens = reply.usageMetadata.tokens()
            self.is_final = any("finishReason" in candidate for candidate in reply.candidates or ())
        else:
            self.text_bytes += size

    def _whole(self, data: bytes) -> None:
        found = self._many.decode(data)
        for reply in found if isinstance(found, list) else [found]:
            self._note(reply, 0)
        self.is_final = self.tokens is not None
