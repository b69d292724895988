"""A key that decides what a call may ask for and cost stands once, however it is written: readers differ in which of two they take."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oqto_plugin_eavs.ask import ASKED, Ask, understand
from oqto_plugin_eavs.fields import Fields
from oqto_plugin_eavs.refusals import Refused

KEYS = Ask.__struct_fields__
GOOD = {
    "model": "m", "stream": True, "max_tokens": 7, "max_completion_tokens": 8, "max_output_tokens": 2**70,
    "stream_options": {"include_usage": True}, "service_tier": "flex", "n": 2,
    "generationConfig": {"maxOutputTokens": 5, "candidateCount": 3, "responseSchema": {"n": [1]}},
}  # fmt: skip
WRONG = st.sampled_from([1.5, "7", [], {}, 0, 2000, True, {"candidateCount": 0}, {"maxOutputTokens": "x"}])


@st.composite
def spelt(draw, key):
    """A key as JSON, with any of its letters escaped."""
    letters = []
    for letter in key:
        escaped = draw(st.sampled_from(["", "", "\\u%04x", "\\u%04X"]))
        letters.append(escaped % ord(letter) if escaped else letter)
    return f'"{"".join(letters)}"'


@st.composite
def bodies(draw, *, is_right=True):
    """A request as bytes, and its keys in their order. Deeper inside the same keys stand as often as they like."""
    keys = draw(st.lists(st.sampled_from([*KEYS, "messages", "Model", "mode", "tools"]), max_size=8))
    inner = (
        '{"model": "x", "model": "y", "content": "\\"model\\": 1, \\\\u006dodel", "n": [{"n": 1, "n": 2}]}'
    )
    parts = []
    for key in keys:
        value = json.dumps(GOOD[key]) if key in GOOD else inner
        if key in GOOD and draw(st.integers(0, 5)) == 0:
            value = "null"
        if key in GOOD and not is_right and draw(st.booleans()):
            value = json.dumps(draw(WRONG))
        space = draw(st.sampled_from(["", " ", "\n\t"]))
        parts.append(f"{space}{draw(spelt(key))}{space}:{space}{value}{space}")
    return ("{" + ",".join(parts) + "}").encode(), keys


def has_twice(keys, counted):
    mine = [key for key in keys if key in counted]
    return len(mine) != len(set(mine))


@given(bodies())
@settings(max_examples=200, deadline=None)
def test_a_key_that_counts_stands_once_at_the_top_and_as_often_as_it_likes_inside(made):
    body, keys = made
    if has_twice(keys, KEYS):
        with pytest.raises(Refused, match="twice"):
            understand(body)
    else:
        assert msgspec.structs.asdict(understand(body)) == msgspec.structs.asdict(
            msgspec.json.decode(body, type=Ask)
        )


@given(bodies(is_right=False))
@settings(max_examples=100, deadline=None)
def test_a_wrong_value_is_told_in_the_same_words_as_ever(made):
    body, keys = made
    if has_twice(keys, KEYS):
        with pytest.raises(Refused):
            understand(body)
    else:
        assert outcome(understand, body) == outcome(msgspec.json.Decoder(Ask).decode, body)


def outcome(read, body):
    try:
        return msgspec.structs.asdict(read(body))
    except msgspec.ValidationError as exc:
        return f"The request is not what this path takes: {exc}."
    except Refused as exc:
        return str(exc)


@given(bodies(), st.data())
@settings(max_examples=100, deadline=None)
def test_a_long_body_is_judged_alike_however_it_arrives(made, data):
    body, keys = made
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=6)))
    fields, pieces = Fields(ASKED), [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    if has_twice(keys, ASKED):
        with pytest.raises(Refused, match="twice"):
            [fields.feed(piece) for piece in pieces]
    else:
        assert b"".join([fields.feed(piece) for piece in pieces]) == body
        assert set(fields.values) == set(keys) & ASKED


@pytest.mark.parametrize(
    ("path", "twice", "error"),
    [
        ("/p/fake/v1/chat/completions", '"model": "gpt-nobody", "\\u006dodel": "fake-1"', {"code": "invalid_request"}),
        ("/p/fake/v1/chat/completions", '"model": "fake-1", "max_tokens": 99999, "max_tokens": 1', {"code": "invalid_request"}),
        ("/v1/chat/completions", '"model": "gpt-nobody", "model": "fake-1"', {"code": "invalid_request"}),
        ("/p/claude/v1/messages", '"model": "fake-1", "max_tokens": 99999, "max_tokens": null', {"type": "invalid_request_error"}),
        ("/p/gemini/v1beta/models/fake-1:generateContent", '"generationConfig": {}, "generationConfig": null', {"status": "INVALID_ARGUMENT"}),
    ],
)  # fmt: skip
def test_what_two_readers_read_in_two_ways_costs_nothing_and_reaches_no_provider(
    proxy, provider, path, twice, error
):
    body = f'{{{twice}, "messages": [{{"role": "user", "content": "hi"}}]}}'
    reply = proxy.client.post(path, content=body.encode(), headers={"x-api-key": proxy.key()})
    told = reply.json()["error"]
    assert (reply.status_code, told["message"].endswith(" twice.")) == (400, True)
    assert error.items() <= told.items()
    assert (proxy.rows(), provider.requests) == ([], [])
