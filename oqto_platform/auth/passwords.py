"""Password hashing with argon2id, off the event loop and never more than a few at once."""

from __future__ import annotations

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from oqto_platform.errors import Invalid

MIN_LENGTH, MAX_LENGTH = 8, 1024
CONCURRENT = 2  # each takes 64 MiB and a core for tens of ms

_hasher = PasswordHasher()
_unknown = _hasher.hash("nobody has this password")
_slots: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}


async def hash_password(password: str) -> str:
    """The argon2id hash to store. Raises `Invalid` for a password that is too short or too long."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise Invalid(f"password: use {MIN_LENGTH} to {MAX_LENGTH} characters", field="password")
    async with _slot():
        return await asyncio.to_thread(_hasher.hash, password)


async def is_right(password: str, stored: str | None) -> bool:
    """Whether `password` belongs to the hash. An unknown account (`None`) takes as long and is wrong."""
    async with _slot():
        matches = await asyncio.to_thread(_verify, stored or _unknown, password[: MAX_LENGTH + 1])
    return matches and stored is not None


def _verify(stored: str, password: str) -> bool:
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def _slot() -> asyncio.Semaphore:
    return _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(CONCURRENT))
