"""Each program and command with its usage, arguments and options."""

from __future__ import annotations

import argparse
import importlib
import inspect
from collections.abc import Iterator
from unittest import mock

import click

from generators.source import plugins, table
from oqto_platform.cli import COMMANDS, plugin_group
from oqto_platform.cli import root as oqtoctl
from oqto_platform.cli.serve import root as oqto

HEAD = ("argument or option", "meaning")
PROGRAMS = {
    "oqto-runner": "oqto_runner.__main__",
    "oqto-eavs": "oqto_plugin_eavs.__main__",
    "oqto-sandbox": "oqto_plugin_sandbox.__main__",
}


def blocks() -> dict[str, str]:
    """One part per program and one per command."""
    found = dict(click_parts("oqto", oqto)) | dict(click_parts("oqtoctl", oqtoctl))
    for program, module in PROGRAMS.items():
        if importlib.util.find_spec(module) is not None:
            found |= dict(program_parts(program, module))
    return {f"command {name}": text for name, text in found.items()}


def click_parts(name: str, command: click.Command) -> Iterator[tuple[str, str]]:
    yield name, describe_click(name, command)
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for sub in names_of(command, context):
            child = (
                plugin_group(sub)
                if sub not in COMMANDS and command is oqtoctl
                else command.get_command(context, sub)
            )
            if child is not None:
                yield from click_parts(f"{name} {sub}", child)


def names_of(command: click.Group, context: click.Context) -> list[str]:
    """Names of sub-commands; of plugins only those that this repository has."""
    ours = [entry.name for entry in plugins("core")] if command is oqtoctl else []
    return sorted({*command.list_commands(context), *ours})


def describe_click(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    records = [record for param in command.get_params(context) if (record := param.get_help_record(context))]
    text = inspect.cleandoc(command.help or "").split("\f")[0].strip()
    rows = [(f"`{option}`", meaning) for option, meaning in records if not option.endswith("--help")]
    return page(name, usage, text, rows)


def page(name: str, usage: str, text: str, rows: list[tuple[str, ...]]) -> str:
    level = "##" if " " not in name else "###"
    options = f"\n\n{table(HEAD, rows)}" if rows else ""
    return f"{level} {name}\n\n```text\n{usage}\n```\n\n{text}{options}"


class Caught(Exception):
    """Carries a program's parser out of its `main`."""


def program_parts(program: str, module: str) -> Iterator[tuple[str, str]]:
    """The parts of a program, whichever of the two libraries it parses its arguments with."""
    main = importlib.import_module(module).main
    if isinstance(main, click.Command):
        yield from click_parts(program, main)
    else:
        yield from argparse_parts(program, parser_of(main))


def parser_of(main: object) -> argparse.ArgumentParser:
    def catch(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise Caught(parser)

    with mock.patch.object(argparse.ArgumentParser, "parse_args", catch), mock.patch("sys.argv", ["-"]):
        try:
            main()  # type: ignore[operator]
        except Caught as caught:
            parser: argparse.ArgumentParser = caught.args[0]
            return parser
    raise SystemExit(f"{main} parses no arguments")


def argparse_parts(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    yield name, describe_parser(name, parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for sub, child in action.choices.items():
                child.description = (
                    child.description or (texts.get(sub, "")[:1].upper() + texts.get(sub, "")[1:]) + "."
                )
                yield from argparse_parts(f"{name} {sub}", child)


def describe_parser(name: str, parser: argparse.ArgumentParser) -> str:
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    rows = [row(parser, action) for action in actions if not isinstance(action, argparse._SubParsersAction)]
    groups = [action for action in actions if isinstance(action, argparse._SubParsersAction)]
    positional = [spelling(a) for a in actions if not a.option_strings and a not in groups]
    pieces = ["[OPTIONS]", *positional, *("COMMAND [ARGS]..." for _ in groups)]
    return page(name, " ".join([name, *pieces]), parser.description or "", rows)


def row(parser: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, ...]:
    text = (action.help or "") % {**vars(action), "prog": parser.prog}
    choices = f" [{', '.join(map(str, action.choices))}]" if action.choices else ""
    return f"`{spelling(action)}`", text + choices


def spelling(action: argparse.Action) -> str:
    value = str(action.metavar or action.dest.upper())
    if not action.option_strings:
        return value
    return ", ".join(action.option_strings) + (f" {value}" if action.nargs != 0 else "")
