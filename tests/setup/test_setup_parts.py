"""The parts of the set-up that can be tried without a network: stamps, readers, the plan, the messages."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from setup_steps import debian, indexes, journey, node, place, python, shell
from setup_steps.stamps import Stamp, digest


@pytest.fixture
def stamp(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.txt").write_text("one")
    (tmp_path / "made").write_text("")
    return Stamp(
        tmp_path / "stamp", inputs=lambda: [tmp_path / "source"], outputs=lambda: [tmp_path / "made"]
    )


def test_a_sealed_stamp_is_fresh_until_an_input_changes(stamp, tmp_path):
    assert stamp.stale() == "not done yet"
    stamp.seal(stamp.key())
    assert stamp.stale() == ""
    (tmp_path / "source" / "a.txt").write_text("two")
    assert "changed" in stamp.stale()


def test_a_new_or_renamed_input_counts_as_a_change(stamp, tmp_path):
    stamp.seal(stamp.key())
    (tmp_path / "source" / "a.txt").rename(tmp_path / "source" / "b.txt")
    assert stamp.stale()


def test_a_lost_output_is_made_again(stamp, tmp_path):
    stamp.seal(stamp.key())
    (tmp_path / "made").unlink()
    assert stamp.stale() == "made is missing"


def test_an_edit_during_the_work_is_not_lost(stamp, tmp_path):
    key = stamp.key()
    (tmp_path / "source" / "a.txt").write_text("edited while it was built")
    stamp.seal(key)
    assert stamp.stale()


def test_what_a_build_makes_is_not_its_input(tmp_path):
    before = digest([tmp_path])
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "x.js").write_text("")
    assert digest([tmp_path]) == before


PIP_CONFIG = """
:env:.cert='/env.crt'
:env:.default-timeout='180.0'
global.cert='/file.crt'
global.extra-index-url='https://a.example/simple\\nhttps://b.example/simple'
global.find-links='/no/such/folder https://c.example/links'
global.index-url='https://mirror.example/simple'
install.trusted-host='mirror.example'
freeze.all='true'
"""


def test_pips_configuration_is_read_and_variables_win():
    options = indexes.pip_options(PIP_CONFIG)
    assert options["cert"] == "/env.crt"
    assert options["extra-index-url"] == "https://a.example/simple https://b.example/simple"
    assert "all" not in options


def test_uv_is_told_what_pip_was_told():
    told = indexes.translate(indexes.pip_options(PIP_CONFIG))
    assert told == {
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
        "UV_FIND_LINKS": "https://c.example/links",
        "UV_INSECURE_HOST": "mirror.example",
        "UV_HTTP_TIMEOUT": "180",
        "SSL_CERT_FILE": "/env.crt",
    }


def test_what_was_set_for_uv_itself_wins(monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mine.example/simple")
    monkeypatch.setattr(indexes, "configured", lambda: {"index-url": "https://mirror.example/simple"})
    assert indexes.uv_environment()["UV_DEFAULT_INDEX"] == "https://mine.example/simple"


def test_an_activated_environment_does_not_leak_in(monkeypatch):
    monkeypatch.setenv("VIRTUAL_ENV", "/somewhere/else")
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    assert {"VIRTUAL_ENV", "PYTHONPATH"}.isdisjoint(place.environment())


def test_npm_keeps_its_cache_in_the_xdg_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("npm_config_cache", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert place.environment()["npm_config_cache"] == str(tmp_path / "npm")


def test_every_folder_with_a_package_is_a_member(checkout):
    held = {path.parent for path in checkout.glob("plugins/*/pyproject.toml")}
    assert held | {checkout, checkout / "runner"} <= set(python.members())


def test_the_machines_node_is_taken_only_when_new_enough(monkeypatch, tmp_path):
    (tmp_path / "lib/node_modules/npm/bin").mkdir(parents=True)
    (tmp_path / "lib/node_modules/npm/bin/npm-cli.js").write_text("")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert node.machine_node() is None
    for version, taken in (("20.20.2", False), ("22.0.0", True), ("25.1.0", True)):
        answer = f'#!/bin/sh\necho \'["{tmp_path}/bin/node","{version}"]\'\n'
        (tmp_path / "bin" / "node").write_text(answer)
        (tmp_path / "bin" / "node").chmod(0o755)
        assert (node.machine_node() is not None) is taken


@pytest.fixture
def bare_machine(monkeypatch, tmp_path):
    """A path with only what the test puts there; call it with name and script."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def provide(name: str, script: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    return provide


def test_without_rights_the_one_command_is_printed(bare_machine, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    bare_machine("apt-get", "exit 1")
    bare_machine("sudo", "exit 1")
    told = debian.install()
    assert "sudo apt-get install --no-install-recommends bubblewrap chromium" in told
    assert "Going on without" in told


def test_in_ci_everything_is_installed_that_a_test_would_be_skipped_without(
    bare_machine, monkeypatch, tmp_path
):
    here = tmp_path / "here"
    here.touch()
    monkeypatch.setattr(debian, "FOR_TESTS", {"made": str(here), "cargo": str(tmp_path / "absent")})
    bare_machine("bwrap", "")
    bare_machine("chromium", "")
    monkeypatch.delenv("CI", raising=False)
    assert debian.missing() == []
    monkeypatch.setenv("CI", "true")
    assert debian.missing() == ["cargo"]


def test_a_mirror_that_fails_does_not_stop_the_rest(bare_machine, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shell, "LOG", tmp_path / "log")
    bare_machine("apt-get", "echo the mirror is gone; exit 100")
    told = debian.install()
    assert "the mirror is gone" in told
    assert "Going on without" in told


def test_on_another_system_no_apt_command_is_suggested(bare_machine):
    assert "apt" not in debian.install()


def test_a_failure_shows_the_command_its_words_and_the_repair(monkeypatch, tmp_path):
    monkeypatch.setattr(shell, "LOG", tmp_path / "log")
    with pytest.raises(shell.StepFailed) as failure:
        shell.run(["sh", "-c", "echo it broke; exit 3"], repair="mend it")
    assert str(failure.value).splitlines() == [
        "sh -c 'echo it broke; exit 3': exit status 3",
        "it broke",
        "→ mend it",
    ]


def test_a_step_that_hangs_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(shell, "LOG", tmp_path / "log")
    with pytest.raises(shell.StepFailed, match="no result within"):
        shell.run(["sleep", "60"], repair="mend it", timeout_s=0.1)


def test_an_unknown_step_is_refused_by_name():
    with pytest.raises(SystemExit, match=r"no step .nodes.; there are: debian, venv"):
        journey.plan(only=["nodes"])


def test_a_python_that_is_too_old_says_which_is_needed(checkout, monkeypatch):
    spec = importlib.util.spec_from_file_location("set_up_script", checkout / "tools" / "setup.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match=r"Oqto needs 3.11 or newer"):
        script.ensure_python()


def test_the_plan_of_a_fresh_clone_touches_nothing(make_clone, bare_environment):
    clone = make_clone()
    before = sorted(clone.rglob("*"))
    argv = ["python3", "tools/setup.py", "--plan"]
    env = {**bare_environment, "PYTHONDONTWRITEBYTECODE": "1"}
    plan = subprocess.run(argv, cwd=clone, env=env, capture_output=True, text=True, check=True).stdout
    assert "venv      would run: python is missing" in plan
    assert sorted(clone.rglob("*")) == before


def test_help_is_the_default_and_lists_every_target(checkout, bare_environment):
    lines = (checkout / "Makefile").read_text().splitlines()
    targets = next(line for line in lines if line.startswith(".PHONY:")).split()[1:]
    told = subprocess.run(
        ["make"], cwd=checkout, env=bare_environment, capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[1] for line in told.splitlines()] == targets


def test_just_knows_every_target_of_make(checkout):
    recipes = {
        line.split()[0].rstrip(":")
        for line in (checkout / "Justfile").read_text().splitlines()
        if line[:1].isalpha()
    }
    lines = (checkout / "Makefile").read_text().splitlines()
    targets = next(line for line in lines if line.startswith(".PHONY:")).split()[1:]
    assert set(targets) - {"help"} <= recipes


def test_the_counts_of_a_report_are_read(checkout, tmp_path):
    spec = importlib.util.spec_from_file_location("verify_script", checkout / "tools" / "verify.py")
    verify = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = verify
    spec.loader.exec_module(verify)
    report = tmp_path / "report.xml"
    report.write_text('<testsuites><testsuite tests="9" failures="1" errors="1" skipped="2"/></testsuites>')
    assert verify.read_junit(report) == verify.Tally(passed=5, failed=2, skipped=2)
    assert verify.read_junit(tmp_path / "none.xml") == verify.Tally()
    assert verify.run_tests(["false"], tmp_path / "none.xml") == verify.Tally(failed=1)
    assert Path(report).exists()
