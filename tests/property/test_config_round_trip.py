"""What is shown of the configuration loads to the same again, and edits keep everything they do not change."""

from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from oqto_platform import config
from oqto_platform.config.edit import edited
from oqto_platform.settings import Secret, Section, key

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)


class Inner(Section, frozen=True):
    word: Annotated[str, key("A word.")] = ""
    number: Annotated[int, key("A number.", ge=0)] = 0


class Whole(Section, frozen=True):
    text: Annotated[str, key("A text.")] = "default"
    flag: Annotated[bool, key("A flag.")] = False
    count: Annotated[int | None, key("A count.")] = None
    price: Annotated[float, key("A price.")] = 1.0
    kind: Annotated[Literal["a", "b"], key("A kind.")] = "a"
    names: Annotated[tuple[str, ...], key("Names.")] = ()
    inner: Inner = Inner()
    table: Annotated[dict[str, Inner], key("A table.")] = {}  # noqa: RUF012 (a Struct copies its defaults)


INNER = st.builds(Inner, word=TEXT, number=st.integers(0, 2**53))
WHOLE = st.builds(
    Whole,
    text=TEXT,
    flag=st.booleans(),
    count=st.none() | st.integers(-(2**53), 2**53),
    price=st.floats(allow_nan=False),
    kind=st.sampled_from(["a", "b"]),
    names=st.lists(TEXT, max_size=4).map(tuple),
    inner=INNER,
    table=st.dictionaries(TEXT.filter(bool), INNER, max_size=3),
)


def plain(value):
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items() if item is not None}
    return value


@settings(max_examples=100, deadline=None)
@given(WHOLE)
def test_what_is_dumped_loads_to_the_same(whole):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        path.write_text(tomlkit.dumps({"whole": plain(msgspec.to_builtins(whole))}), encoding="utf-8")
        loaded = config.load(path, {"HOME": "/home/ada"}, kinds={"whole": Whole})
    assert loaded.section("whole", Whole) == whole


@settings(max_examples=100, deadline=None)
@given(TEXT, TEXT, st.integers(0, 10**6))
def test_an_edit_changes_one_value_and_keeps_the_words_of_people(comment, text, number):
    before = f"# {comment}\n[whole]\ntext = 'mine' # {comment}\n\n[whole.inner]\nnumber = 1\n"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        path.write_text(before, encoding="utf-8")
        with edited(path) as document:
            document["whole"]["inner"]["number"] = number
            document["whole"]["text"] = text
        after = path.read_text(encoding="utf-8")
    assert tomllib.loads(after) == {"whole": {"text": text, "inner": {"number": number}}}
    assert after.startswith(f"# {comment}\n")
    assert after.count(f"# {comment}") >= 2


@settings(max_examples=100, deadline=None)
@given(TEXT)
def test_a_secret_is_never_in_what_is_shown(text):
    canary = f"CANARY{text}"
    secret = Secret(canary)
    assert canary not in f"{secret} {secret!r} {secret!s} {[secret]} { {'x': secret} }"
    assert secret == Secret(canary)
    assert secret.reveal() == canary
