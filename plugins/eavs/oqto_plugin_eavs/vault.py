"""
Provider keys at rest: AES-256-GCM under a key file that only this account reads.

It protects copies of the ledger (backups, bug reports), not against whoever can read both files.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from oqto_platform.errors import OqtoError

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES, NONCE_BYTES = 32, 12


class VaultFailed(OqtoError):
    """A stored provider key cannot be read."""

    code, status, title = "vault-unreadable", 503, "Stored key unreadable"


class Vault:
    """Seals and opens short secrets; the name they belong to is part of the seal."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def seal(self, name: str, secret: str) -> bytes:
        """The encrypted form; empty stays empty."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if not secret:
            return b""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + AESGCM(self._key()).encrypt(nonce, secret.encode(), name.encode())

    def open(self, name: str, sealed: bytes) -> str:
        """The secret again; raises `VaultFailed` when the key file is another one."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if not sealed:
            return ""
        nonce, data = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return AESGCM(self._key()).decrypt(nonce, data, name.encode()).decode()
        except InvalidTag as exc:
            text = f"the key of provider {name} cannot be decrypted with {self._path}; set it again"
            raise VaultFailed(text) from exc

    def _key(self) -> bytes:
        try:
            key = self._path.read_bytes()
        except FileNotFoundError:
            return self._make()
        if len(key) != KEY_BYTES:
            text = f"{self._path} is damaged; bring it back from a copy, or remove it and set the keys of providers again"
            raise VaultFailed(text)
        return key

    def _make(self) -> bytes:
        key, fresh = secrets.token_bytes(KEY_BYTES), self._path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, key)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fresh.replace(self._path)
        return key
