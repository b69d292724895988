"""Policy files: what they may say, where they are read, how layers meet (spec vectors M1-M26)."""

from __future__ import annotations

import os
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oqto_plugin_sandbox.policy.document import Place, parse
from oqto_plugin_sandbox.policy.load import Owner, checked, load
from oqto_plugin_sandbox.policy.merge import Layer, meet, merge
from oqto_plugin_sandbox.policy.profiles import built_in
from oqto_plugin_sandbox.policy.schema import KEYS, flatten, to_policy

from oqto_platform.errors import ConfigError

HOME = "/home/alice"
WORKSPACE = "/home/alice/projects/ws"


def layer(text, role="base", file="sandbox.toml"):
    place = Place(file=file, role=role, home=HOME, workspace=WORKSPACE)
    return Layer(file=file, statements=parse(text, place))


def effective(system, *restrictions):
    return to_policy(merge([layer(system)], [layer(text, "workspace") for text in restrictions], HOME))


def refused(text, role="workspace"):
    with pytest.raises(ConfigError) as caught:
        merge([layer('profile = "development"')], [layer(text, role, "/ws/.oqto/sandbox.toml")], HOME)
    return str(caught.value)


def in_home(*names):
    return tuple(f"{HOME}/{name}" for name in names)


# -- the vectors ---------------------------------------------------------------------------------


def test_m1_a_looser_profile_only_narrows():
    policy = effective('profile = "strict"', 'profile = "minimal"')
    strict = built_in("strict", HOME)
    assert (policy.home, policy.network.mode, policy.allow_read) == ("private", "isolated", ())
    assert policy.profile == "strict"
    assert set(policy.allow_write) <= set(strict.allow_write)
    assert set(policy.deny_read) >= set(strict.deny_read)


def test_m2_a_workspace_cannot_switch_off():
    assert effective('profile = "strict"', "enabled = false").enabled


@pytest.mark.parametrize("workspace", [(), ("",)], ids=["M3 absent", "M4 empty"])
def test_m3_m4_nothing_stated_changes_nothing(workspace):
    assert effective('profile = "development"', *workspace) == effective('profile = "development"')


@pytest.mark.parametrize(
    ("system", "workspace", "result"),
    [
        (["~/.cache"], ["~/.cache/uv"], in_home(".cache/uv")),
        (["~/.cache/uv"], ["~/.cache"], in_home(".cache/uv")),
        (["~/.cargo"], ["/home/alice/.cargo"], in_home(".cargo")),
        (["~/.cargo"], [], ()),
        (["~/.cargo"], ["~/.npm"], ()),
    ],
    ids=["M5", "M6", "M7", "M8", "M9"],
)
def test_m5_to_m9_allow_write_is_what_both_cover(system, workspace, result):
    assert effective(f"allow_write = {system}", f"allow_write = {workspace}").allow_write == result


def test_m10_an_empty_deny_list_takes_nothing_away():
    assert f"{HOME}/.ssh" in effective('deny_read = ["~/.ssh"]', "deny_read = []").deny_read


def test_m11_a_workspace_cannot_carve_out():
    policy = effective('deny_read = ["~/.config"]', 'allow_read = ["~/.config/gh"]')
    assert f"{HOME}/.config" in policy.deny_read


@pytest.mark.parametrize(
    "text",
    [
        'extra_rw_bind = ["~/.ssh"]',
        'extra_ro_bind = ["~/.ssh"]',
        'seccomp_bpf_path = "/usr/allow-all.bpf"',
        'overlay_root = "~/x"',
        '[[scoped_paths]]\nname = "x"',
        '[unix_sockets]\nallow = ["/run/docker.sock"]',
        '[env]\npass = ["*"]',
        "allow_ptrace = true",
        "allow_git_config = true",
        "allow_home_workspace = true",
        "[network]\nproxy_tcp_port = 1",
    ],
)
def test_m12_m13_m14_rights_in_a_workspace_are_refused(text):
    message = refused(text)
    key = text.split("=")[0].split("]")[-1].strip() if "scoped" not in text else "scoped_paths"
    assert "/ws/.oqto/sandbox.toml:" in message
    assert key.split(".")[-1] in message


def test_m15_domains_intersect():
    policy = effective(
        '[network]\nmode = "proxy"\nallow_domains = ["*.github.com"]',
        '[network]\nmode = "proxy"\nallow_domains = ["api.github.com", "evil.com"]',
    )
    assert (policy.network.mode, policy.network.allow_domains) == ("proxy", ("api.github.com",))


def test_m16_isolation_stays():
    assert effective("isolate_network = true", '[network]\nmode = "open"').network.mode == "isolated"


def test_m17_a_workspace_may_ask_for_the_proxy():
    network = effective(
        "isolate_network = false", '[network]\nmode = "proxy"\nallow_domains = ["a.com"]'
    ).network
    assert (network.mode, network.allow_domains) == ("proxy", ("a.com",))


def test_m18_switches_that_restrict_are_or():
    assert effective("isolate_pid = false", "isolate_pid = true").isolate_pid


def test_m19_the_stricter_mode_holds():
    assert effective('seccomp_mode = "enforce"', 'seccomp_mode = "off"').seccomp_mode == "enforce"


def test_m20_the_smaller_limit_holds():
    assert effective("[limits]\npids = 200", "[limits]\npids = 5000").limits.pids == 200


def test_m21_a_misspelt_key_is_refused_with_the_nearest_one():
    message = refused('# comment\n\ndeny_raed = ["~/x"]')
    assert "/ws/.oqto/sandbox.toml:3: deny_raed: unknown key; did you mean 'deny_read'?" in message


def test_m22_an_unknown_profile_is_refused():
    assert "no profile 'nope'" in refused('profile = "nope"')


@pytest.mark.parametrize("text", ["deny_read = [", "\0", "a = 1\n" * 40_000, "a = " + "[" * 30_000])
def test_m23_what_is_not_toml_is_refused(text):
    assert "/ws/.oqto/sandbox.toml" in refused(text)


def test_m24_a_built_in_profile_cannot_be_redefined():
    assert "built in" in refused('profile = "strict"\n[profiles.strict]\ndeny_read = []')


def test_m26_order_in_the_file_does_not_matter():
    one = effective('deny_read = ["~/b", "~/a", "~/c"]', 'deny_write = ["~/y", "~/x"]')
    two = effective('deny_read = ["~/c", "~/a", "~/b"]', 'deny_write = ["~/x", "~/y"]')
    assert one == two


# -- files of one layer --------------------------------------------------------------------------


def test_top_level_keys_of_the_documented_file_work():
    policy = effective(
        'enabled = true\nprofile = "development"\ndeny_read = ["~/secret"]\n'
        'allow_write = ["~/.cargo", "~/.npm", "/tmp"]\nisolate_network = false\nisolate_pid = true\n'
    )
    assert policy.allow_write == ("/home/alice/.cargo", "/home/alice/.npm", "/tmp")
    assert {f"{HOME}/secret", f"{HOME}/.ssh"} <= set(policy.deny_read)


def test_a_custom_profile_inherits_strict_unless_it_says_otherwise():
    strict = effective('profile = "ours"\n[profiles.ours]\ndeny_read = ["~/x"]')
    assert (strict.home, strict.network.mode, strict.profile) == ("private", "isolated", "ours")
    loose = effective(
        'profile = "ours"\n[profiles.ours]\ninherits = "development"\nreadonly_workspace = true'
    )
    assert (loose.home, loose.readonly_workspace) == ("ro", True)


def test_profiles_that_inherit_in_a_circle_are_refused():
    with pytest.raises(ConfigError, match="inherits from itself"):
        effective('profile="a"\n[profiles.a]\ninherits="b"\n[profiles.b]\ninherits="a"')


def test_a_workspace_can_name_a_profile_of_the_system():
    system = 'profile = "development"\n[profiles.ours]\ninherits = "development"\nreadonly_workspace = true'
    assert effective(system, 'profile = "ours"').readonly_workspace


@pytest.mark.parametrize(
    "path", ["~bob/x", "$HOME/x", "../x", "~/../x", "a\\u0000b", "a\\nb", "", "x/y", "//srv/x", "/proc/1"]
)
def test_paths_that_could_mean_something_else_are_refused(path):
    assert "deny_read" in refused(f'deny_read = ["{path}"]', role="base")


def test_a_workspace_denies_by_relative_path():
    policy = effective("", 'deny_read = [".env", "**/*.pem"]')
    assert {f"{WORKSPACE}/.env", f"{WORKSPACE}/**/*.pem"} <= set(policy.deny_read)


@pytest.mark.parametrize(
    "domain",
    ["*.com", "*", "http://x.org", "x.org:99999", "a*b.org", "x.org:", "a b.org", "0x7f.1", "2130706433"],
)
def test_domains_that_cover_too_much_or_nothing_are_refused(domain):
    assert "allow_domains" in refused(f'[network]\nmode = "proxy"\nallow_domains = ["{domain}"]')


def test_domains_have_one_spelling():
    policy = effective('[network]\nmode = "proxy"\nallow_domains = ["API.Example.ORG.", "bücher.example"]')
    assert policy.network.allow_domains == ("api.example.org", "xn--bcher-kva.example")


@pytest.mark.parametrize("value", ['"yes"', "1", "[]"])
def test_a_switch_has_to_be_true_or_false(value):
    assert "readonly_workspace: has to be true or false" in refused(f"readonly_workspace = {value}")


@pytest.mark.parametrize("value", ["0", "-1", "true", '"9"', "1.5"])
def test_a_limit_has_to_be_a_number_above_zero(value):
    assert "limits.pids: has to be a whole number" in refused(f"[limits]\npids = {value}")


def test_what_is_not_enforced_is_not_accepted():
    for text in ("[ssh]\nenabled = true", "overlay_enabled = true", "[guard]\nenabled = true"):
        assert "remove the key" in refused(text, role="base")


def test_the_sandbox_has_parts_that_cannot_be_taken_out():
    with pytest.raises(ConfigError, match="isolate_pid = false is not available"):
        checked(effective("isolate_pid = false"))


def test_a_name_list_without_the_proxy_is_refused():
    assert 'only mode = "proxy"' in refused('[network]\nmode = "open"\nallow_domains = ["a.com"]')


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


# -- the files on disk ---------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path):
    home, workspace = tmp_path / "home", tmp_path / "home/ws"
    (home / ".config/oqto").mkdir(parents=True)
    (workspace / ".oqto").mkdir(parents=True)
    owner = Owner(
        home=str(home), uid=os.getuid(), system_files=(str(tmp_path / "etc/oqto.toml"), str(tmp_path / "etc/octo.toml")),
        system_uid=os.getuid(), is_team=False,
    )  # fmt: skip
    (tmp_path / "etc").mkdir()
    return owner, tmp_path


def test_without_any_file_development_holds(machine):
    owner, root = machine
    policy = load(owner, f"{root}/home/ws")
    assert (policy.profile, policy.enabled, policy.layers) == ("development", True, ())


def test_the_user_file_is_the_base_when_there_is_no_system_file(machine):
    owner, root = machine
    (root / "home/.config/oqto/sandbox.toml").write_text("enabled = false")
    assert not load(owner, f"{root}/home/ws").enabled


def test_below_a_system_file_the_user_file_only_restricts(machine):
    owner, root = machine
    (root / "etc/oqto.toml").write_text('profile = "strict"')
    (root / "home/.config/oqto/sandbox.toml").write_text(
        'enabled = false\nhome = "rw"\n[network]\nmode = "open"'
    )
    policy = load(owner, f"{root}/home/ws")
    assert (policy.enabled, policy.home, policy.network.mode) == (True, "private", "isolated")


def test_both_system_files_restrict(machine):
    owner, root = machine
    (root / "etc/oqto.toml").write_text('deny_read = ["~/a"]')
    (root / "etc/octo.toml").write_text("readonly_workspace = true")
    policy = load(owner, f"{root}/home/ws")
    assert policy.readonly_workspace
    assert f"{root}/home/a" in policy.deny_read


def test_a_team_needs_the_file_of_root(machine):
    owner, root = machine
    from msgspec.structs import replace

    with pytest.raises(ConfigError, match="does not exist"):
        load(replace(owner, is_team=True), f"{root}/home/ws")


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_a_system_file_that_others_can_change_is_refused(machine, mode):
    owner, root = machine
    (root / "etc/oqto.toml").write_text("")
    (root / "etc/oqto.toml").chmod(mode)
    with pytest.raises(ConfigError, match="can change it"):
        load(owner, f"{root}/home/ws")


def test_a_system_file_of_somebody_else_is_refused(machine):
    owner, root = machine
    from msgspec.structs import replace

    (root / "etc/oqto.toml").write_text("")
    with pytest.raises(ConfigError, match="can change it"):
        load(replace(owner, system_uid=os.getuid() + 1), f"{root}/home/ws")


def _link(path):
    path.symlink_to("/etc/hostname")


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: _link(folder / "sandbox.toml"),
        lambda folder: os.mkfifo(folder / "sandbox.toml"),
        lambda folder: (folder / "sandbox.toml").mkdir(),
        lambda folder: (folder / "sandbox.toml").write_bytes(b"a = 1\n" * 2**21),
        lambda folder: (folder / "sandbox.toml").write_bytes(b"\xff\xfe\x00"),
        lambda folder: (folder.rmdir(), folder.symlink_to("/etc/oqto")),
        lambda folder: (folder.rmdir(), folder.write_text("")),
    ],
    ids=["link", "fifo", "folder", "12 MB", "no text", "linked folder", "file for folder"],
)
def test_a_workspace_file_that_is_something_else_is_refused(machine, make):
    owner, root = machine
    make(root / "home/ws/.oqto")
    with pytest.raises(ConfigError, match=r"sandbox\.toml"):
        load(owner, f"{root}/home/ws")
