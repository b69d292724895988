"""The guards of the test suite itself, tried on suites that misbehave."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

QUIET = {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OQTO_TEST_GRACE_S": "0.5"}

LEAVES_A_DAEMON = """
import subprocess, sys
def test_starts_and_forgets(tmp_path):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
"""

LEAVES_ONE_WITH_A_CLEAN_ENVIRONMENT = """
import subprocess, sys
def test_starts_and_forgets(tmp_path):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env={}, cwd=tmp_path)
"""

KEEPS_ONE_FOR_THE_SESSION = """
import subprocess, sys, pytest
@pytest.fixture(scope="session")
def daemon():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield child
    child.kill()
    child.wait()
def test_uses_it(daemon):
    assert daemon.poll() is None
"""

FORGETS_ONE_OF_THE_SESSION = KEEPS_ONE_FOR_THE_SESSION.replace("child.kill()", "return")

SKIPS = """
import pytest
@pytest.mark.skip(reason="no moon")
def test_at_full_moon(): ...
def test_always(): ...
"""

DROPS_A_FILE = """
from pathlib import Path
def test_drops(request):
    (request.config.rootpath / "dropped").write_text("")
"""


@pytest.fixture
def suite(tmp_path):
    """A checkout of its own with our conftest.py; call it with the text of a test file and variables."""
    tests = tmp_path / "checkout" / "tests"
    tests.mkdir(parents=True)
    shutil.copy(CONFTEST, tests)
    (tests / "allowed_skips.txt").write_text("")
    checkout = tests.parent
    subprocess.run(["git", "init", "-q", checkout], check=True)

    def run(text: str, *, allowed: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        (tests / "test_it.py").write_text(text)
        (tests / "allowed_skips.txt").write_text(allowed)
        subprocess.run(["git", "-C", checkout, "add", "."], check=True)
        env = {**os.environ, "CI": "", **QUIET, **variables}
        options = ["-p", "no:cacheprovider", "--import-mode=importlib"]
        argv = [sys.executable, "-m", "pytest", *options, "--rootdir", str(checkout), str(tests)]
        return subprocess.run(argv, cwd=checkout, env=env, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("text", [LEAVES_A_DAEMON, LEAVES_ONE_WITH_A_CLEAN_ENVIRONMENT])
def test_a_process_left_running_fails_the_file_and_is_ended(suite, text):
    done = suite(text)
    assert done.returncode == 1
    assert "these processes were left running" in done.stdout
    assert "time.sleep(60)" in done.stdout


def test_a_fixture_of_the_session_may_keep_its_process(suite):
    done = suite(KEEPS_ONE_FOR_THE_SESSION)
    assert done.returncode == 0, done.stdout


def test_a_fixture_of_the_session_must_end_it_at_last(suite):
    done = suite(FORGETS_ONE_OF_THE_SESSION)
    assert done.returncode == 1
    assert "these processes were left running" in done.stdout


def test_ci_takes_no_skip_without_a_reason_on_the_list(suite):
    done = suite(SKIPS, CI="true")
    assert done.returncode == 1
    assert "skipped: tests/test_it.py::test_at_full_moon: Skipped: no moon" in done.stdout


def test_ci_takes_a_skip_that_the_list_explains(suite):
    allowed = "tests/test_it.py::test_at_full_moon  # the moon cannot be ordered\n"
    assert suite(SKIPS, allowed=allowed, CI="true").returncode == 0


def test_a_line_of_the_list_without_a_reason_is_refused(suite):
    done = suite(SKIPS, allowed="tests/test_it.py::test_at_full_moon\n", CI="true")
    assert done.returncode != 0
    assert "allowed_skips.txt:1: write" in done.stdout + done.stderr


def test_outside_ci_a_skip_is_a_skip(suite):
    assert suite(SKIPS).returncode == 0


def test_ci_takes_no_file_left_in_the_checkout(suite):
    done = suite(DROPS_A_FILE, CI="true")
    assert done.returncode == 1
    assert "left in the checkout: dropped" in done.stdout
