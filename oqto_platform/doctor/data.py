"""What the server keeps: the tables and the audit log."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from oqto_platform.audit.place import Place
from oqto_platform.audit.verify import verify
from oqto_platform.types import Check

SHOWN = 3


def database(path: Path) -> Check:
    """The file opens and its pages are sound. Asked only while no server writes to it."""
    if not path.exists():
        return Check(name="database", ok=True, detail=f"{path} will be made at the first start")
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            (answer,) = connection.execute("pragma quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as exc:
        answer = str(exc)
    if answer == "ok":
        return Check(name="database", ok=True, detail=f"{path}, sound")
    repair = f"bring the newest backup back ({path.parent}/*.bak, or your own), or give the file to the account of the server"  # fmt: skip
    return Check(name="database", ok=False, detail=f"{path}: {answer}", repair=repair)


def audit(place: Place) -> Check:
    """The log can be written, and nobody has changed it."""
    path = place.path
    if path is None:
        return Check(name="audit log", ok=True, detail="switched off: [logging] audit_enabled = false")
    if not path.exists() and not place.seal.exists():
        return Check(name="audit log", ok=True, detail=f"{path} will be made at the first start")
    try:
        report = verify(path, place.seal)
    except OSError as exc:
        return _failing(f"{path} cannot be read: {exc.strerror}", "give it to the account of the server")
    if not report.is_whole:
        told = "; ".join(finding.what for finding in report.findings[:SHOWN])
        repair = "keep the files as they are and find out who wrote to them: oqtoctl audit verify"
        return _failing(f"{path}: the chain is broken: {told}", repair)
    if path.exists() and not os.access(path, os.W_OK):
        return _failing(f"{path} cannot be written", f"chown it to the account of the server: ls -l {path}")
    return Check(name="audit log", ok=True, detail=f"{path}, {report.records} records, unbroken")


def _failing(detail: str, repair: str) -> Check:
    return Check(name="audit log", ok=False, detail=detail, repair=repair)
