"""What is refused when plugins are loaded, and that the refusal tells an admin what to type."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import get_type_hints

import pytest

from oqto_platform import hookspecs
from oqto_platform.calls import Calls
from oqto_platform.errors import PluginLoadError
from oqto_platform.hooks import Hooks, Mode, hookimpl, installed
from oqto_platform.settings import Section

SPECS = {name: value for name, value in vars(hookspecs).items() if hasattr(value, "policy")}


def wrapper():
    yield


async def register_later():
    return Section


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        (SimpleNamespace(session_started=hookimpl(lambda sesion: None)), "sesion"),
        (SimpleNamespace(sesion_started=hookimpl(lambda session: None)), "sesion_started"),
        (SimpleNamespace(session_started=hookimpl(wrapper, wrapper=True)), "wrapper"),
        (SimpleNamespace(confine=hookimpl(lambda plan: None)), "oqto.runner"),
        (SimpleNamespace(register_config=hookimpl(register_later)), "plain def"),
        (ImportError("No module named 'numpy'"), "cannot be imported: ImportError: No module named 'numpy'"),
        (SyntaxError("bad"), "cannot be imported"),
    ],
    ids=[
        "misspelt argument",
        "unknown hook",
        "wrapper",
        "runner's hook",
        "async register",
        "missing",
        "broken",
    ],
)
def test_a_wrong_plugin_stops_the_start_and_says_how_to_go_on(install, plugin, words):
    install(weather=plugin)
    with pytest.raises(PluginLoadError) as refused:
        Hooks.load("core")
    detail = refused.value.detail
    assert detail.startswith("plugin 'weather' (oqto-plugin-weather 2.7.1): ")
    assert words in detail
    assert detail.endswith("To start without it: oqtoctl plugins disable weather")
    assert refused.value.extra == {"plugin": "weather"}


def test_a_hook_that_fails_at_load_names_the_plugin(install):
    install(weather=SimpleNamespace(register_panels=hookimpl(lambda: 1 / 0)))
    with pytest.raises(
        PluginLoadError, match=r"plugin 'weather'.*register_panels: ZeroDivisionError.*disable weather"
    ):
        Hooks.load("core").register_all("register_panels")


def test_a_register_hook_with_a_wrong_answer_names_the_plugin(install):
    install(weather=SimpleNamespace(register_panels=hookimpl(lambda: 7)))
    with pytest.raises(PluginLoadError, match=r"plugin 'weather'.*register_panels.*disable weather"):
        Hooks.load("core").register_all("register_panels")


def test_a_plugin_is_left_out_by_disabled_and_by_only(install):
    broken = ImportError("no")
    install(bad=broken, good=SimpleNamespace(), other=SimpleNamespace(health=None))
    names = [info.name for info in Hooks.load("core", disabled=("bad",)).plugins()]
    assert names == ["good", "other"]
    assert [info.name for info in Hooks.load("core", only=("good",)).plugins()] == ["good"]
    assert Hooks.load("core", only=("good",), disabled=("good",)).plugins() == []


def test_what_is_loaded_says_where_it_came_from(install):
    install(weather=SimpleNamespace(session_started=hookimpl(lambda: None), shutdown=hookimpl(lambda: None)))
    builtin = SimpleNamespace(health=hookimpl(lambda: []))  # noqa: PIE807 (a builtin type takes no mark)
    hooks = Hooks.load("core", builtins={"builtin": builtin})
    ours, theirs = hooks.plugins()
    assert (ours.name, ours.distribution, ours.version, ours.hooks) == (
        "builtin",
        "built in",
        "",
        ("health",),
    )
    assert (theirs.name, theirs.distribution, theirs.version) == ("weather", "oqto-plugin-weather", "2.7.1")
    assert theirs.hooks == ("session_started", "shutdown")
    assert hooks.implements("health")
    assert not hooks.implements("confine")


def test_two_plugins_of_one_name_are_refused():
    hooks = Hooks("core")
    hooks.register(SimpleNamespace(), "weather")
    with pytest.raises(PluginLoadError, match="plugin 'weather'"):
        hooks.register(SimpleNamespace(), "weather")


def test_two_that_answer_a_hook_are_named_in_the_order_in_which_they_are_asked(install, logs):

    ldap, htpasswd = (SimpleNamespace(authenticate=hookimpl(lambda credentials: None)) for _ in range(2))
    install(htpasswd=htpasswd, ldap=ldap)
    hooks = Hooks.load(
        "core", builtins={"builtin": SimpleNamespace(authenticate=hookimpl(lambda credentials: None))}
    )
    assert logs == [], "a command that only looks does not say it"
    hooks.name_several_answerers()
    (entry,) = logs
    assert entry["hook"] == "authenticate"
    assert [line.split("'")[1] for line in entry["asked_in_this_order"]] == ["ldap", "htpasswd"]
    assert hooks.implements("authenticate")


def test_every_installed_plugin_loads_on_its_side():
    for side in ("core", "runner"):
        names = [info.name for info in Hooks.load(side).plugins()]
        assert names == [entry.name for entry in installed(side)]


@pytest.mark.parametrize("name", SPECS)
def test_every_hook_says_its_mode_time_and_contract(name):
    policy = SPECS[name].policy
    assert SPECS[name].__doc__, f"{name} has no contract"
    assert policy.timeout_s > 0
    assert policy.sides
    assert set(policy.sides) <= {"core", "runner"}
    assert (policy.mode is Mode.REGISTER) == name.startswith("register_")
    if policy.mode is Mode.FOLD:
        assert policy.value in inspect.signature(SPECS[name]).parameters


def test_every_awaited_hook_has_a_typed_method_with_the_same_arguments():
    awaited = {name for name, spec in SPECS.items() if spec.policy.mode is not Mode.REGISTER}
    methods = {name for name, value in vars(Calls).items() if inspect.iscoroutinefunction(value)}
    assert methods == awaited
    for name in awaited:
        of_spec = list(inspect.signature(SPECS[name]).parameters)
        of_method = [p for p in inspect.signature(getattr(Calls, name)).parameters if p != "self"]
        assert of_method == of_spec, name


@pytest.mark.parametrize("name", sorted(n for n, s in SPECS.items() if s.policy.mode is not Mode.REGISTER))
def test_the_typed_methods_answer_with_what_the_mode_makes_of_the_answers(name):
    mode, spec = SPECS[name].policy.mode, get_type_hints(SPECS[name])["return"]
    written = inspect.signature(getattr(Calls, name)).return_annotation
    if mode in (Mode.NOTIFY, Mode.CHECK):
        assert spec is type(None)
        assert written == "None"
    elif mode is Mode.COLLECT:
        assert written.startswith("dict[str, ")
    elif mode is Mode.FOLD:
        assert "None" not in written
    else:
        assert written.endswith("| None")
