"""`oqtoctl hash-password`: for `[[auth.dev_users]]`."""

from __future__ import annotations

import asyncio
import sys

import click

from oqto_platform.auth.passwords import hash_password as hashed


@click.command("hash-password")
def hash_password() -> None:
    """Ask for a password (or read a line from standard input) and print its argon2id hash."""
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    click.echo(asyncio.run(hashed(password)))
