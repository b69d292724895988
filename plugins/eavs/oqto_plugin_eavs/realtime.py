"""What a response of OpenAI's realtime API counted, sound and text apart."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from .meter import Count, Meter
from .prices import Tokens


class _RealtimeCached(msgspec.Struct):
    audio_tokens: Count = 0


class _RealtimeInput(msgspec.Struct):
    cached_tokens: Count = 0
    audio_tokens: Count = 0
    cached_tokens_details: _RealtimeCached | None = None


class _RealtimeOutput(msgspec.Struct):
    audio_tokens: Count = 0


class _RealtimeUsage(msgspec.Struct):
    input_tokens: Count = 0
    output_tokens: Count = 0
    input_token_details: _RealtimeInput | None = None
    output_token_details: _RealtimeOutput | None = None

    def tokens(self) -> Tokens:
        """Normal form; `audio_tokens` of the input include the cached ones."""
        read = self.input_token_details or _RealtimeInput()
        cached_sound = (read.cached_tokens_details or _RealtimeCached()).audio_tokens
        fresh = max(0, self.input_tokens - read.cached_tokens)
        return Tokens(
            input=fresh,
            cache_read=read.cached_tokens,
            output=self.output_tokens,
            audio_input=min(fresh, max(0, read.audio_tokens - cached_sound)),
            audio_cache_read=min(read.cached_tokens, cached_sound),
            audio_output=min(
                self.output_tokens, (self.output_token_details or _RealtimeOutput()).audio_tokens
            ),
        )


class _RealtimeResponse(msgspec.Struct):
    usage: _RealtimeUsage | None = None


class _RealtimeEvent(msgspec.Struct):
    type: str = ""
    response: _RealtimeResponse | None = None
    delta: Any = None


SOUND = frozenset({"response.audio.delta", "response.output_audio.delta"})
CHARACTERS_PER_TOKEN = 3_200
"""Of sound in base64: 16 bits at 24 kHz, twenty tokens a second. For estimates only."""


class RealtimeMeter(Meter):
    """OpenAI realtime: the counts come with `response.done`."""

    _decoder: ClassVar = msgspec.json.Decoder(_RealtimeEvent)

    def __init__(self) -> None:
        super().__init__()
        self._sound = 0

    @property
    def written(self) -> int:
        return super().written + self._spoken

    @property
    def _spoken(self) -> int:
        return round(self._sound / CHARACTERS_PER_TOKEN)

    def best(self, prompt_estimate: int) -> tuple[Tokens, bool]:
        tokens, is_estimated = super().best(prompt_estimate)
        if is_estimated:
            tokens = msgspec.structs.replace(tokens, audio_output=min(tokens.output, self._spoken))
        return tokens, is_estimated

    def read(self, data: bytes) -> bool:
        event = self._decoder.decode(data)
        if event.response is not None and event.response.usage is not None:
            self.tokens, self.is_final = event.response.usage.tokens(), True
        if isinstance(event.delta, str) and event.type in SOUND:
            self._sound += len(event.delta)
        elif isinstance(event.delta, str):
            self.text_bytes += len(event.delta)
        return True
