"""
Write the generated parts of the reference anew, from the code.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`; what is around it is written by hand and
stays. `--check` changes nothing and fails when a part is stale.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

# What a default shows must not depend on who generates it.
for name in [name for name in os.environ if name.startswith(("OQTO", "XDG_"))]:
    del os.environ[name]
HOME = "/home/of-the-reader"
os.environ["HOME"] = HOME

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))

from generators import cli, config, errors, hooks

Blocks = Mapping[str, str]
PAGES: dict[str, Callable[[], Blocks]] = {
    "reference/hooks.md": hooks.blocks,
    "reference/config.md": config.blocks,
    "reference/cli.md": cli.blocks,
    "reference/errors.md": errors.blocks,
}
PART = re.compile(r"<!-- generated: (?P<name>[^>]+?) -->\n.*?<!-- end -->\n", re.DOTALL)


def fill(text: str, blocks: Blocks) -> str:
    """`text` with every part replaced. New parts go to the end; a part that has no source is an error."""
    known = set(PART.findall(text))
    if gone := known - set(blocks):
        raise SystemExit(f"nothing generates {', '.join(sorted(gone))} any more: remove it with its prose")
    filled = PART.sub(lambda match: part(match["name"], blocks[match["name"]]), text)
    return filled + "".join("\n" + part(name, body) for name, body in blocks.items() if name not in known)


def part(name: str, body: str) -> str:
    return f"<!-- generated: {name} -->\n\n{body.strip().replace(HOME, '~')}\n\n<!-- end -->\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="docs/generate.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a page is stale")
    is_check = parser.parse_args().check
    stale = [page for page, source in PAGES.items() if is_changed(DOCS / page, source(), write=not is_check)]
    for page in stale:
        print(f"{'stale' if is_check else 'written'}: docs/{page}")
    return 1 if is_check and stale else 0


def is_changed(page: Path, blocks: Blocks, *, write: bool) -> bool:
    """Whether the page differs from what the code says; written when asked."""
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    new = fill(old, blocks)
    if new != old and write:
        page.write_text(new, encoding="utf-8")
    return new != old


if __name__ == "__main__":
    sys.exit(main())
