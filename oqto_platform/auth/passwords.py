"""Password hashing with argon2id, off the event loop and never more than a few at once."""

from __future__ import annotations

import asyncio
import secrets
from base64 import b64encode

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

from oqto_platform.errors import Invalid

MIN_LENGTH, MAX_LENGTH = 8, 1024
BCRYPT = ("$2a$", "$2b$", "$2y$")
CONCURRENT = 2  # each takes 64 MiB and a core for tens of ms

_hasher = PasswordHasher()
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


def _hash_of_nobody() -> str:
    """
    A well-formed hash with the real parameters that no password has.

    Made up, not computed: computing one took a seventh of a server start.
    """
    cost = f"m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}"
    salt, digest = (_base64(secrets.token_bytes(n)) for n in (_hasher.salt_len, _hasher.hash_len))
    return f"$argon2id$v={ARGON2_VERSION}${cost}${salt}${digest}"


def _base64(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")


_unknown = _hash_of_nobody()


def _verify(stored: str, password: str) -> bool:
    if stored.startswith(BCRYPT):
        return _verify_bcrypt(stored, password)
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def _verify_bcrypt(stored: str, password: str) -> bool:
    """Hashes of other programs. bcrypt looks at 72 bytes; its library refuses what is longer."""
    import bcrypt

    try:
        return bcrypt.checkpw(password.encode()[:72], stored.encode())
    except ValueError:
        return False


def _slot() -> asyncio.Semaphore:
    return _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(CONCURRENT))
