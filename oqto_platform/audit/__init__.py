"""
The audit log: one JSON line per action, each carrying the hash of the line before it.

Several workers append to one chain: a lock orders them and the last line says what to chain to. A record is
written before the action is reported as done, by the action itself.
"""

from __future__ import annotations

from oqto_platform.audit.log import AuditLog, acting

__all__ = ["AuditLog", "acting"]
