"""
Wheels of what is installed here, so that a test can use pip as a stranger does and needs no index for it.

A wheel is the files that its RECORD lists, zipped; pip checks and installs it as it does any other.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from itertools import product
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

WRITTEN_BY_INSTALLERS = (
    "INSTALLER",
    "REQUESTED",
    "RECORD",
    "direct_url.json",
    "uv_cache.json",
    "uv_build.json",
)


def fill(folder: Path, requirements: Iterable[str]) -> None:
    """Put wheels of `requirements` and of all that they need into `folder`, in the versions that are installed."""
    for name in sorted(_closure(requirements)):
        dist = distribution(name)
        if not any(folder.glob(f"{_escaped(dist.name)}-*.whl")):
            _pack(dist, folder)


def _closure(requirements: Iterable[str]) -> set[str]:
    found: set[tuple[str, str]] = set()
    waiting = [
        (Requirement(text).name, extra) for text in requirements for extra in ("", *Requirement(text).extras)
    ]
    while waiting:
        name, extra = waiting.pop()
        if (canonicalize_name(name), extra) in found:
            continue
        found.add((canonicalize_name(name), extra))
        for needed in map(Requirement, distribution(name).requires or []):
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                waiting += [(needed.name, wanted) for wanted in ("", *needed.extras)]
    return {name for name, _ in found}


def _pack(dist: Distribution, folder: Path) -> None:
    stem = f"{_escaped(dist.name)}-{dist.version}"
    rows = []
    with zipfile.ZipFile(folder / f"{stem}-{_tag(dist)}.whl", "w") as wheel:
        for file in dist.files or []:
            if (inside := _place(file, stem, dist)) is not None:
                wheel.write(Path(str(file.locate())), inside)
                rows.append(
                    (inside, f"{file.hash.mode}={file.hash.value}" if file.hash else "", file.size or "")
                )
        record = next(
            PurePosixPath(place).parent for place, *_ in rows if place.endswith(".dist-info/METADATA")
        )
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([*rows, (f"{record}/RECORD", "", "")])
        wheel.writestr(f"{record}/RECORD", text.getvalue())


def _place(file: PurePosixPath, stem: str, dist: Distribution) -> str | None:
    """Where a file is in the wheel; `None` for what installers make."""
    if "__pycache__" in file.parts or (
        file.parent.suffix == ".dist-info" and file.name in WRITTEN_BY_INSTALLERS
    ):
        return None
    if ".." not in file.parts:
        return str(file)
    outside = [part for part in file.parts if part != ".."]
    if outside[0] != "bin":
        return "/".join([f"{stem}.data/data", *outside])
    is_made = any(entry.name == file.name for entry in dist.entry_points if entry.group == "console_scripts")
    return None if is_made else f"{stem}.data/scripts/{file.name}"


def _tag(dist: Distribution) -> str:
    lines = (dist.read_text("WHEEL") or "").splitlines()
    tags = [line.removeprefix("Tag: ").split("-") for line in lines if line.startswith("Tag: ")]
    parts = [sorted(set(column)) for column in zip(*tags, strict=True)]
    assert len(tags) == len(list(product(*parts))), f"{dist.name}: no one name holds {tags}"
    return "-".join(".".join(part) for part in parts)


def _escaped(name: str) -> str:
    return canonicalize_name(name).replace("-", "_")
