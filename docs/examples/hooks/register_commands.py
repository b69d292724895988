from typing import Any

import click

from oqto_platform import hookimpl


@hookimpl
def register_commands(group: Any) -> None:
    @group.command()
    @click.argument("city")
    def look(city: str) -> None:
        """Look out of the window in CITY."""
        click.echo(f"It rains in {city}.")
