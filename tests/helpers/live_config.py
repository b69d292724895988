"""What a person and an editor do to the configuration of a running server, and how it looks to them."""

from __future__ import annotations

import json
import time
from pathlib import Path

SEED = Path(__file__).parents[1] / "fixtures" / "config" / "seed-example.toml"


def status(stack):
    return stack.client.get("/api/settings/status").raise_for_status().json()


def view(stack):
    return stack.client.get("/api/settings").raise_for_status().json()


def settings(stack):
    return {key["name"]: key for key in view(stack)["keys"]}


def audited(stack, event):
    lines = (stack.state_dir / "audit.log.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["event"] == event]


def in_place(path, text):
    path.write_text(text)


def renamed_over(path, text):
    new = path.with_name("new.tmp")
    new.write_text(text)
    new.replace(path)


def removed_and_made_again(path, text):
    path.unlink()
    path.write_text(text)


def as_a_link(path, text):
    target = path.with_name("elsewhere") / f"{len(text)}.toml"
    target.parent.mkdir(exist_ok=True)
    target.write_text(text)
    link = path.with_name("link.tmp")
    link.symlink_to(target)
    link.replace(path)


def as_kubernetes_does(path, text):
    """`config.toml` → `..data/config.toml`, and `..data` → a folder of its own for each version."""
    folder = path.parent / f"..{time.monotonic_ns()}"
    folder.mkdir()
    (folder / path.name).write_text(text)
    link = path.parent / "..data_tmp"
    link.symlink_to(folder.name)
    link.replace(path.parent / "..data")
    if path.resolve().parent != folder:
        path.unlink(missing_ok=True)
        path.symlink_to(Path("..data") / path.name)


def with_upload(size: int) -> str:
    return SEED.read_text().replace("max_upload_size_mb = 100 ", f"max_upload_size_mb = {size} ")


def features(stack):
    return stack.client.get("/api/features").json()
