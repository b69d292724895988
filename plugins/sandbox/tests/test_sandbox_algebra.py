"""How layers meet, over random policies; and what any text or value does to the parser."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st
from oqto_plugin_sandbox.policy.document import Place, parse
from oqto_plugin_sandbox.policy.merge import Layer, meet, merge
from oqto_plugin_sandbox.policy.profiles import built_in
from oqto_plugin_sandbox.policy.schema import KEYS, flatten

from oqto_platform.errors import ConfigError

HOME = "/home/alice"
WORKSPACE = "/home/alice/projects/ws"


def layer(text, role="base", file="sandbox.toml"):
    place = Place(file=file, role=role, home=HOME, workspace=WORKSPACE)
    return Layer(file=file, statements=parse(text, place))


# -- the algebra ---------------------------------------------------------------------------------

names = st.text(alphabet="ab", min_size=1, max_size=2)
some_paths = st.lists(
    st.lists(names, min_size=1, max_size=3).map(lambda parts: "/h/" + "/".join(parts)), max_size=4
)
some_domains = st.lists(
    st.sampled_from(
        ["a.org", "*.a.org", "x.a.org", "*.x.a.org", "b.net", "a.org:443", "a.org:8080", "*.a.org:443"]
    ),
    max_size=4,
)


def values_of(name):
    key = KEYS[name]
    if name in ("deny_read", "deny_write"):
        return some_paths.map(lambda v: tuple(sorted(set(v))))
    return {
        "bool": st.booleans(),
        "count": st.one_of(st.none(), st.integers(1, 9)),
        "choice": st.sampled_from(key.choices or ("",)),
        "paths": some_paths.map(lambda v: tuple(sorted(set(v)))),
        "domains": some_domains.map(lambda v: tuple(sorted(set(v)))),
        "names": st.lists(st.sampled_from(list(string.ascii_uppercase[:4])), max_size=3).map(lambda v: tuple(sorted(set(v)))),
    }[key.kind]  # fmt: skip


statements = st.fixed_dictionaries(
    {}, optional={name: values_of(name) for name in KEYS if name != "isolate_network"}
)
base = st.sampled_from(["minimal", "development", "strict"]).map(lambda name: flatten(built_in(name, "/h")))
ORDERED = {"home", "seccomp_mode", "landlock_mode", "network.mode"}


def covered(path, allowed):
    return allowed is None or any(path == other or path.startswith(other + "/") for other in allowed)


def is_not_wider(name, narrow, wide):
    kind = KEYS[name].kind
    if name in ORDERED:
        return KEYS[name].choices.index(narrow) >= KEYS[name].choices.index(wide)
    if kind == "count":
        return wide is None or (narrow is not None and narrow <= wide)
    if kind == "bool":
        return narrow <= wide if name.startswith("allow_") else narrow >= wide
    if name in ("deny_read", "deny_write", "network.deny_domains", "env.deny", "seccomp_bpf_path"):
        return set(narrow) >= set(wide)
    if kind == "paths":
        return (narrow is None and wide is None) or all(covered(path, wide) for path in narrow or ())
    if kind == "domains":
        from oqto_plugin_sandbox.policy.domains import matches

        probes = [(h, p) for h in ("a.org", "x.a.org", "y.x.a.org", "b.net") for p in (80, 443, 8080)]

        def reach(patterns):
            return {
                probe for probe in probes if patterns is None or any(matches(q, *probe) for q in patterns)
            }

        return reach(narrow) <= reach(wide)
    return set(narrow) <= set(wide)


@given(base, statements, statements)
def test_the_result_is_never_wider_than_any_input(start, one, two):
    met = meet(meet(start, one), two)
    for source in (start, one, two):
        for name, value in source.items():
            assert name == "profiles" or is_not_wider(name, met[name], value), name


@given(base, statements, statements, statements)
def test_the_order_of_restrictions_does_not_matter(start, one, two, three):
    forward = meet(meet(meet(start, one), two), three)
    assert forward == meet(meet(meet(start, three), one), two)


@given(base, statements)
def test_stating_the_same_twice_changes_nothing_more(start, one):
    once = meet(start, one)
    assert meet(once, one) == once
    assert meet(once, once) == once


@given(st.text(max_size=300))
def test_any_text_is_a_policy_or_a_complaint_that_names_the_file(text):
    try:
        parse(text, Place(file="f.toml", role="workspace", home=HOME, workspace=WORKSPACE))
    except ConfigError as exc:
        assert "f.toml" in str(exc)  # noqa: PT017 - both ways out are right


toml_values = st.recursive(
    st.one_of(st.booleans(), st.integers(-5, 5), st.sampled_from(['"x"', '"~/x"', '"a.org"', '"proxy"'])),
    lambda inner: st.lists(inner, max_size=3).map(
        lambda v: "[" + ",".join(map(str, v)).replace("True", "true").replace("False", "false") + "]"
    ),
    max_leaves=4,
)


@given(
    st.dictionaries(st.sampled_from([*KEYS, "profile", "ssh", "nonsense", "limits"]), toml_values, max_size=5)
)
def test_any_keys_with_any_values_are_a_policy_or_a_complaint(document):
    text = "\n".join(
        f"{name} = {str(value).replace('True', 'true').replace('False', 'false')}"
        for name, value in document.items()
    )
    try:
        layered = layer(text, "workspace", "f.toml")
        merge([], [layered], HOME)
    except ConfigError as exc:
        assert "f.toml" in str(exc)  # noqa: PT017 - both ways out are right
