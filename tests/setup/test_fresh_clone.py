"""The whole set-up on a fresh clone, from a bare login: real mirrors, then none at all."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def clone(make_clone, bare_environment):
    """A clone that was set up once, as `make setup` does it on a machine that has nothing but python3."""
    clone = make_clone()
    done = subprocess.run(
        ["make", "setup"], cwd=clone, env=bare_environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    yield clone
    shutil.rmtree(clone)


@pytest.fixture
def run(clone, bare_environment):
    def run(*argv: str, **variables: str) -> str:
        env = {**bare_environment, **variables}
        done = subprocess.run(argv, cwd=clone, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def offline():
    """The start of a command that has no network."""
    for argv in (["unshare", "-n"], ["unshare", "-rn"]):
        if subprocess.run([*argv, "true"], capture_output=True, check=False).returncode == 0:
            return argv
    pytest.skip("this machine gives no network namespace")


def test_everything_that_was_promised_is_there(run, clone):
    assert int(run(".tools/node/bin/node", "--version").strip().lstrip("v").split(".")[0]) >= 22
    assert run(".tools/node/bin/npm", "--version").strip()
    assert run(".tools/node/bin/npx", "--version").strip()
    path = f"{clone}/.tools/node/bin:/usr/bin:/bin"
    wanted = json.loads((clone / "tools/pi/package.json").read_text())["dependencies"]
    assert run(".tools/pi/node_modules/.bin/pi", "--version", PATH=path).strip() in wanted.values()
    assert "<script" in (clone / "oqto_platform/ui/index.html").read_text()


def test_every_member_is_installed_from_the_clone(run, clone):
    listing = json.loads(
        run(".venv/bin/uv", "pip", "list", "--python", ".venv/bin/python", "--format", "json")
    )
    editable = {one["editable_project_location"] for one in listing if "editable_project_location" in one}
    held = {str(path.parent) for path in clone.glob("plugins/*/pyproject.toml")}
    assert held | {str(clone), str(clone / "runner")} <= editable


def test_git_sees_nothing_of_it(run):
    assert run("git", "status", "--porcelain", "--ignored=no", ".venv", ".tools", "oqto_platform/ui") == ""


def test_the_second_run_does_nothing_and_needs_no_network(run, offline):
    assert run(*offline, "make", "setup") == ""


def test_a_changed_requirement_makes_only_its_own_step_stale(run, clone):
    lock = clone / "requirements" / "dev.txt"
    before = lock.read_text()
    lock.write_text(before + "# changed\n")
    plan = run("python3", "tools/setup.py", "--plan")
    lock.write_text(before)
    assert [line.split()[0] for line in plan.splitlines() if "would run" in line] == ["packages"]


def test_a_new_plugin_is_picked_up_and_a_removed_one_let_go(run, clone):
    plugin = clone / "plugins" / "visitor"
    (plugin / "oqto_plugin_visitor").mkdir(parents=True)
    (plugin / "oqto_plugin_visitor" / "__init__.py").write_text("")
    described = (clone / "plugins/sandbox/pyproject.toml").read_text().partition("[project.scripts]")[0]
    backend = '\n[tool.uv.build-backend]\nmodule-root = ""\nmodule-name = "oqto_plugin_visitor"\n'
    (plugin / "pyproject.toml").write_text(described.replace("sandbox", "visitor") + backend)
    (plugin / "README.md").write_text("A visitor.\n")
    imports = (
        ".venv/bin/python",
        "-c",
        "import importlib.metadata as m; print(m.version('oqto-plugin-visitor'))",
    )
    run("make", "setup")
    assert run(*imports).strip()
    shutil.rmtree(plugin)
    run("make", "setup")
    with pytest.raises(AssertionError, match="PackageNotFoundError"):
        run(*imports)


def test_two_at_once_wait_for_each_other(clone, bare_environment):
    (clone / ".venv/.stamps/members").unlink()
    both = [
        subprocess.Popen(
            ["make", "setup"], cwd=clone, env=bare_environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    told = "".join(one.communicate()[0] for one in both)
    assert [one.returncode for one in both] == [0, 0]
    assert told.count("Oqto's own packages") == 1


def test_a_moved_checkout_is_set_up_for_its_new_place(clone, bare_environment):
    moved = clone.rename(clone.with_name("moved"))
    try:
        argv = ["python3", "tools/setup.py", "--plan"]
        plan = subprocess.run(
            argv, cwd=moved, env=bare_environment, capture_output=True, text=True, check=True
        ).stdout
    finally:
        moved.rename(clone)
    assert "venv      would run: what it is made from has changed" in plan


def test_make_run_hands_its_process_over_to_the_server(clone, bare_environment):
    """What `make run` starts must be the server itself: a shell between would swallow the signals."""
    server = clone / ".venv/bin/oqto"
    real = server.read_text()
    server.write_text(
        '#!/bin/sh\necho "parent $(cat /proc/$PPID/comm)"\necho "args $*"\ncommand -v node\ncommand -v pi\n'
    )
    try:
        argv = ["make", "run", "ARGS=--port 9000"]
        told = subprocess.run(
            argv, cwd=clone, env=bare_environment, capture_output=True, text=True, check=True
        ).stdout
    finally:
        server.write_text(real)
    assert told.splitlines() == [
        "parent make",
        "args serve --mode local --single-user --port 9000",
        f"{clone}/.tools/node/bin/node",
        f"{clone}/.tools/pi/node_modules/.bin/pi",
    ]


def test_wheels_are_built_and_work_without_the_checkout(run, clone):
    told = run("make", "wheels")
    for member in ("oqto_platform", "oqto_runner", "oqto_plugin_eavs", "oqto_plugin_sandbox"):
        assert f"dist/{member}-" in told
    assert "wheels: the server answers and serves the user interface" in told
    built = {wheel.name.split("-")[0] for wheel in (clone / "dist").glob("*.whl")}
    assert all(f"dist/{name}-" in told for name in built)
