"""Policy files: what they may say, where they are read, how layers meet (spec vectors M1-M26)."""

from __future__ import annotations

import pytest
from oqto_plugin_sandbox.policy.document import Place, parse
from oqto_plugin_sandbox.policy.load import checked
from oqto_plugin_sandbox.policy.merge import Layer, merge
from oqto_plugin_sandbox.policy.profiles import built_in
from oqto_plugin_sandbox.policy.schema import to_policy

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
