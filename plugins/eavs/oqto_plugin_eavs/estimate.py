"""How long a prompt is, from its bytes alone: an upper estimate that holds money until the provider has counted."""

from __future__ import annotations

from .meter import CHARACTERS_PER_TOKEN

IMAGE_TOKENS = 2_000
IMAGE_BYTES = 2_048
"""A run of base64 from this length on is an inline image, which costs by its picture and not by its length."""
SMALL = 16_384
"""No picture is smaller."""
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_MARKED = bytes(ord("A") if code in _BASE64 else ord(" ") for code in range(256))
_IMAGE = b"A" * IMAGE_BYTES


class Prompt:
    """
    Counts a body that comes in pieces.

    Each step of it runs in C and in linear time: a pattern with repetition would go quadratic on text that is
    made for it.
    """

    def __init__(self) -> None:
        self._text = self._images = 0
        self._run = 0
        """Length of the base64 that the last piece ended with."""

    def feed(self, data: bytes) -> None:
        """Another piece."""
        marked = data.translate(_MARKED)
        at = self._continue(marked)
        while (found := marked.find(_IMAGE, at)) >= 0:
            end = _end_of_run(marked, found)
            self._text += found - at
            self._images += 1
            self._run = end - found if end == len(marked) else 0
            at = end
        if at < len(marked):
            tail = len(marked) - (marked.rfind(b" ", at) + 1 or at)
            self._text += len(marked) - at
            self._run = tail

    def _continue(self, marked: bytes) -> int:
        """Count what continues the run of the piece before; answers where it ends."""
        if not self._run:
            return 0
        end = _end_of_run(marked, 0)
        was_image = self._run >= IMAGE_BYTES
        self._run += end
        if was_image or self._run < IMAGE_BYTES:
            self._text += 0 if was_image else end
        else:
            self._text -= self._run - end
            self._images += 1
        if end < len(marked):
            self._run = 0
        return end

    @property
    def tokens(self) -> int:
        """The estimate so far."""
        return round(self._text / CHARACTERS_PER_TOKEN) + IMAGE_TOKENS * self._images + 1


def _end_of_run(marked: bytes, start: int) -> int:
    end = marked.find(b" ", start)
    return len(marked) if end < 0 else end


def prompt_tokens(body: bytes) -> int:
    """The estimate of a whole body."""
    if len(body) < SMALL:
        return round(len(body) / CHARACTERS_PER_TOKEN) + 1
    prompt = Prompt()
    prompt.feed(body)
    return prompt.tokens
