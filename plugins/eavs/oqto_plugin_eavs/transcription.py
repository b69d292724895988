"""
Input transcription in OpenAI's realtime API: a second model writes down what is said, and bills for it.

It begins when the sound is committed, by the agent or by the provider itself, and its counts come with
`conversation.item.input_audio_transcription.completed`, in tokens or in seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from .meter import Count
from .prices import Tokens

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .admission import Choice
    from .wallets import Call

COMMITTED = "input_audio_buffer.committed"
DONE = "conversation.item.input_audio_transcription.completed"
FAILED = "conversation.item.input_audio_transcription.failed"
TOKENS_PER_S = 10
"""Of heard sound, as the vendor's models count it."""
CHARACTERS_PER_S = 64_000
"""A second of 16-bit sound at 24 kHz, the densest format, in base64."""
LEAST_TOKENS = 100
MOST_SECONDS = 86_400.0


class _Model(msgspec.Struct):
    model: str | None = None


class _Input(msgspec.Struct):
    transcription: _Model | None = None


class _Audio(msgspec.Struct):
    input: _Input | None = None


class Session(msgspec.Struct):
    """What a session says about transcription, in the first and in the present form of the API."""

    input_audio_transcription: _Model | None = None
    audio: _Audio | None = None

    @property
    def transcriber(self) -> str:
        """The model that writes down what is said; empty for none, or none named."""
        now = self.audio.input.transcription if self.audio and self.audio.input else None
        found = now or self.input_audio_transcription
        return (found.model or "") if found else ""


class _Details(msgspec.Struct):
    audio_tokens: Count = 0


class _Usage(msgspec.Struct):
    seconds: Annotated[float, msgspec.Meta(ge=0, le=MOST_SECONDS)] | None = None
    input_tokens: Count = 0
    output_tokens: Count = 0
    input_token_details: _Details | None = None

    def tokens(self) -> Tokens:
        """Normal form; seconds become the tokens that they would have been."""
        if self.seconds is not None:
            heard = round(self.seconds * TOKENS_PER_S)
            return Tokens(input=heard, audio_input=heard, output=heard)
        sound = (self.input_token_details or _Details()).audio_tokens
        return Tokens(
            input=self.input_tokens, audio_input=min(sound, self.input_tokens), output=self.output_tokens
        )


class _Event(msgspec.Struct):
    type: str = ""
    item_id: str = ""
    usage: _Usage | None = None


_read = msgspec.json.Decoder(_Event).decode


class Transcriptions:
    """
    Those of one conversation. `open_call` sets money aside for about so many tokens, `close_call` takes a call's bill.

    `fallback` pays when nobody has said which model it is: never nothing.
    """

    def __init__(
        self,
        choose: Callable[[str], Choice],
        open_call: Callable[[Choice, int], Awaitable[Call]],
        close_call: Callable[..., None],
    ) -> None:
        self._choose, self._open, self._close = choose, open_call, close_call
        self._choice: Choice | None = None
        self._calls: dict[str, tuple[Call, Choice, int]] = {}
        self._appended = 0

    def told(self, session: Session) -> None:
        """A session names its model, asked for or confirmed. Raises `Refused` for one that may not be used."""
        if session.transcriber:
            self._choice = self._choose(session.transcriber)

    def appended(self, characters: int) -> None:
        """Sound is on its way, so many characters of base64."""
        self._appended += characters

    async def heard(self, message: bytes, fallback: Choice) -> None:
        """Look at an event of the provider about sound or its transcription. Raises `Refused`."""
        try:
            event = _read(message)
        except msgspec.DecodeError:
            return
        if event.type == COMMITTED and self._choice is not None:
            await self._begin(event.item_id, self._choice)
        elif event.type == DONE:
            if event.item_id not in self._calls:
                await self._begin(event.item_id, self._choice or fallback)
            call, choice, estimate = self._calls.pop(event.item_id)
            found = event.usage.tokens() if event.usage else _sound(estimate)
            is_estimated = event.usage is None or event.usage.seconds is not None
            self._close(call, choice, found, "done", is_estimated=is_estimated)
        elif event.type == FAILED and event.item_id in self._calls:
            call, choice, _ = self._calls.pop(event.item_id)
            self._close(call, choice, Tokens(), "refused", is_estimated=False)

    async def _begin(self, item: str, choice: Choice) -> None:
        heard = round(self._appended / CHARACTERS_PER_S * TOKENS_PER_S)
        self._appended = 0
        tokens = max(heard, LEAST_TOKENS)
        self._calls[item] = (await self._open(choice, tokens), choice, heard)

    def end(self, outcome: str) -> None:
        """The conversation is over; what was committed is written down, and billed, all the same."""
        for call, choice, heard in self._calls.values():
            self._close(call, choice, _sound(heard), outcome, is_estimated=True)
        self._calls.clear()


def _sound(tokens: int) -> Tokens:
    return Tokens(input=tokens, audio_input=tokens, output=tokens)
