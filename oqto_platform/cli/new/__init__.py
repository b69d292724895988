"""`oqtoctl plugins new`: a package that works, to be changed."""

from __future__ import annotations

import re
from pathlib import Path

import click

from oqto_platform.errors import Conflict, Invalid

TEMPLATE = Path(__file__).parent / "template"
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST = 30


@click.command()
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), default=Path(), help="The folder to make it in.")
def new(name: str, into: Path) -> None:
    """
    Make the package of a new plugin NAME, ready to be installed and changed.

    One hook a side, a section, a table, a route, a panel, tests and a CI file. Needs
    `pip install 'oqto-platform[new]'`.
    """
    name = _checked(name)
    target = into / f"oqto-plugin-{name.replace('_', '-')}"
    if target.exists():
        raise Conflict(f"{target} is there already; choose another name, or another folder with --into")
    _render(name, target)
    click.echo(f"made {target}\n\n{_next_steps(target)}")


def _checked(name: str) -> str:
    """The plugin's name as Python, TOML and the database spell it."""
    from importlib.metadata import entry_points

    from oqto_platform.config.sections import CORE

    plain = name.removeprefix("oqto-plugin-").replace("-", "_")
    if not NAME.fullmatch(plain) or len(plain) > LONGEST:
        raise Invalid(
            f"NAME: {name!r} will not do; use at most {LONGEST} small letters, digits and dashes, a letter first"
        )
    taken = {
        *CORE,
        *(entry.name for side in ("core", "runner") for entry in entry_points(group=f"oqto.{side}")),
    }
    if plain in taken:
        raise Conflict(
            f"NAME: {plain!r} is taken, by a section of Oqto or by a plugin that is installed here"
        )
    return plain


def _render(name: str, target: Path) -> None:
    try:
        from copier import run_copy
    except ImportError as exc:
        raise Invalid(
            "this command needs the package copier, which no server does: pip install 'oqto-platform[new]'"
        ) from exc

    words = name.split("_")
    data = {
        "name": name,
        "dashed": "-".join(words),
        "title": " ".join(words).capitalize(),
        "class_name": "".join(word.capitalize() for word in words),
    }
    run_copy(str(TEMPLATE), target, data=data, defaults=True, quiet=True)


def _next_steps(target: Path) -> str:
    return "\n".join(
        [
            "What to do with it:",
            "",
            f"  cd {target}",
            "  pip install -e '.[dev]'",
            "  pytest",
            "  oqto serve             restart it when it runs already; the plugin is loaded",
            "",
            "Begin at the two places marked with 'change me'.",
        ]
    )
