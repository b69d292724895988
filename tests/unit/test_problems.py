"""Every way to say no has one code, travels whole and comes back as what it was."""

from __future__ import annotations

import msgspec
import pytest

from oqto_platform import errors
from oqto_platform.errors import Internal, OqtoError, Problem, from_problem, registry
from oqto_platform.problems import BY_STATUS


def classes(root=OqtoError):
    for child in root.__subclasses__():
        yield child
        yield from classes(child)


def test_every_code_stands_for_one_class():
    # HookError is a plugin-failed of its own making: it inherits the code.
    ours = [k for k in classes() if k.__module__.startswith("oqto_platform") and "code" in vars(k)]
    codes = [kind.code for kind in ours]
    assert len(codes) == len(set(codes)), sorted(code for code in codes if codes.count(code) > 1)
    for kind in ours:
        assert registry()[kind.code] is kind
        assert 400 <= kind.status < 600
        assert kind.title
        assert kind.__doc__


@pytest.mark.parametrize(
    "kind",
    [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, OqtoError)],
)
def test_an_error_crosses_a_border_and_is_itself_again(kind):
    if kind is OqtoError:
        return
    sent = OqtoError.__new__(kind)
    OqtoError.__init__(sent, "what is wrong and what to do", field="name")
    body = msgspec.json.encode(sent.to_problem("req_1"))
    problem = msgspec.json.decode(body, type=Problem)
    assert problem.type == f"urn:oqto:error:{kind.code}"
    assert (problem.status, problem.code, problem.instance) == (kind.status, kind.code, "req_1")
    assert problem.detail == problem.error == "what is wrong and what to do"
    assert problem.extra == {"field": "name"}
    back = from_problem(problem)
    assert type(back) is kind
    assert (back.detail, back.extra) == (sent.detail, sent.extra)


def test_a_code_of_the_future_is_internal():
    problem = Problem(
        type="urn:oqto:error:of-the-future", title="x", status=418, detail="d", code="of-the-future"
    )
    assert type(from_problem(problem)) is Internal


def test_litestars_statuses_map_to_codes_of_the_same_status():
    for status, kind in BY_STATUS.items():
        assert kind.status == status
