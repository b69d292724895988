"""What `~`, `$VAR`, `env:` and `file:` stand for."""

from __future__ import annotations

from typing import Annotated

import pytest

from oqto_platform import config
from oqto_platform.settings import Secret, Section, key

HOME = {"HOME": "/home/ada"}


class Weather(Section, frozen=True):
    place: Annotated[str, key("Where.", expand=True)] = "$XDG_CACHE_HOME/weather"
    word: Annotated[str, key("As it stands.")] = ""
    token: Annotated[Secret, key("Secret.")] = Secret("")


KINDS = {"weather": Weather}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("~", "/home/ada"),
        ("~/x", "/home/ada/x"),
        ("~bob/x", "~bob/x"),
        ("$PLACE/x", "/p/x"),
        ("${PLACE}y/$PLACE", "/py//p"),
        ("env:PLACE", "/p"),
        ("$XDG_DATA_HOME", "/home/ada/.local/share"),
        ("{user_id}", "{user_id}"),
    ],
)
def test_what_a_path_refers_to_is_put_in_its_place(write, text, value):
    path = write(f"[weather]\nplace = '{text}'\nword = '{text}'\n")
    weather = config.load(path, HOME | {"PLACE": "/p"}, kinds=KINDS).section("weather", Weather)
    assert weather.place == value
    assert weather.word == text


def test_a_default_is_expanded_too():
    assert (
        config.load(None, HOME, kinds=KINDS).section("weather", Weather).place == "/home/ada/.cache/weather"
    )


def test_a_secret_is_a_reference_or_itself(write, tmp_path):
    (tmp_path / "token").write_text("from-file\n")

    def token(text, env=HOME):
        path = write(f"[weather]\ntoken = '{text}'\n")
        return config.load(path, env, kinds=KINDS).section("weather", Weather).token.reveal()

    assert token("env:TOKEN", HOME | {"TOKEN": "from-env"}) == "from-env"
    assert token(f"file:{tmp_path}/token") == "from-file"
    assert token("file:$FOLDER/token", HOME | {"FOLDER": str(tmp_path)}) == "from-file"
    assert token("pa$$word$HOME~") == "pa$$word$HOME~"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("place = '$NOWHERE/x'", "[weather] place: the environment variable NOWHERE is not set ($NOWHERE)"),
        (
            "token = 'env:NOWHERE'",
            "[weather] token: the environment variable NOWHERE is not set (env:NOWHERE)",
        ),
        ("token = 'file:/no/such'", "[weather] token: cannot read file:/no/such: No such file or directory"),
    ],
)
def test_what_a_reference_misses_is_named(write, text, words, refusal):
    path = write(f"[weather]\n{text}\n")
    assert refusal(path, kinds=KINDS) == f"{path}: {words}"
