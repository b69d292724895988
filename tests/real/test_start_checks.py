"""
A server starts on a machine with something wrong: `runtime.fail_fast` ends the start, or has everything told.

One machine for all: a state folder that is open to others, a plugin that does not start, a runner that does not.
"""

from __future__ import annotations

import pytest
from waiting import until

from oqto_platform.testing.site import Site
from oqto_platform.testing.stack import Stack

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("needs_bubblewrap")]

LAME = """
from litestar import get
from oqto_platform import hookimpl

@get("/door", opt={"public": True})
async def door() -> str: return "open"

@hookimpl
def register_routes(context): return [door]

@hookimpl
def startup(context): raise OSError("no licence")

@hookimpl
def session_starting(session, account): pass
"""
HASTY = """
from oqto_platform import hookimpl

@hookimpl
async def prepare(context): await context.db.read(len)

@hookimpl
def startup(context): raise OSError("never asked")
"""
HALE = """
from litestar import get
from oqto_platform import hookimpl

STARTED = []

@get("/started", opt={"public": True})
async def started() -> list[str]: return STARTED

@hookimpl
def register_routes(context): return [started]

@hookimpl(trylast=True)
def startup(context): STARTED.append(context.name)
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A server that is not started yet, on a machine where nothing is wrong yet."""
    root = tmp_path_factory.mktemp("machine")
    site = Site(root)
    site.folder.rename(root / "packages")
    site.folder = root / "packages"
    site.install("lame", core=LAME)
    site.install("hale", core=HALE)
    site.install("hasty", core=HASTY)
    stack = Stack(root, plugins=("hale", "sandbox"), env={"PYTHONPATH": str(site.folder)})
    yield stack
    stack.__exit__(None, None, None)


@pytest.fixture(autouse=True)
def mended(machine):
    machine.log.write_text("")
    yield
    if machine.process is not None:
        machine.stop()
    machine.env.pop("OQTO__RUNTIME__FAIL_FAST", None)
    machine.env["OQTO_PLUGINS"] = "hale,sandbox"
    if machine.state_dir.exists():
        machine.state_dir.chmod(0o700)


def refused(machine: Stack) -> str:
    """The start ends by itself; its one sentence."""
    machine.spawn()
    assert machine.process.wait(60) == 1
    machine.process = None
    log = machine.log.read_text()
    assert "Traceback" not in log
    return next(line for line in log.splitlines() if line.startswith("oqto: "))


def signed_in(machine: Stack) -> None:
    """Whichever test comes first makes the account."""
    if machine.client.get("/api/auth/state").json()["setup_required"]:
        machine.set_up()
    else:
        machine.sign_in()


def failing(machine: Stack) -> dict[str, str]:
    checks = machine.client.get("/health/ready").json()["checks"]
    return {check["name"]: check["repair"] for check in checks if not check["ok"]}


def test_the_first_failing_check_ends_the_start_with_its_repair(machine):
    machine.state_dir.mkdir(exist_ok=True)
    machine.state_dir.chmod(0o755)
    assert refused(machine) == (
        f"oqto: state directory: {machine.state_dir} is open to others (mode 755); "
        f"repair: chmod 700 {machine.state_dir} "
        "([runtime] fail_fast = false starts the server all the same)"
    )


def test_without_fail_fast_all_is_told_and_what_works_works(machine):
    machine.state_dir.mkdir(exist_ok=True)
    machine.state_dir.chmod(0o755)
    machine.env["OQTO__RUNTIME__FAIL_FAST"] = "false"
    machine.env["OQTO_PLUGINS"] = "lame,hale"
    machine.start()
    signed_in(machine)
    log = machine.log.read_text()
    assert log.count("start-up check failed") == 2
    assert f"chmod 700 {machine.state_dir}" in log
    assert "no licence" in log
    assert machine.client.get("/api/plugins/hale/started").json() == ["hale"], "the others start"
    assert failing(machine) == {"state directory": f"chmod 700 {machine.state_dir}"}
    assert machine.client.get("/health/ready").status_code == 200, "it was chosen to start like that"
    machine.state_dir.chmod(0o700)
    assert failing(machine) == {}


def test_the_database_is_not_there_yet_while_a_plugin_prepares(machine):
    machine.env["OQTO_PLUGINS"] = "hasty"
    sentence = refused(machine)
    assert "plugin 'hasty' (oqto-plugin-hasty 2.7.1) failed in prepare" in sentence
    assert "use context.db in startup or later" in sentence
    machine.env["OQTO__RUNTIME__FAIL_FAST"] = "false"
    machine.env["OQTO_PLUGINS"] = "hasty,hale"
    machine.start()
    assert machine.client.get("/api/plugins/hale/started").json() == ["hale"], "the others start"
    assert "never asked" not in machine.log.read_text(), "it does not go on"


def test_nobody_slips_through_because_a_guard_did_not_start(machine):
    machine.env["OQTO__RUNTIME__FAIL_FAST"] = "false"
    machine.env["OQTO_PLUGINS"] = "lame"
    machine.start()
    signed_in(machine)
    body = {"workspace": str(machine.workspace), "harness": "echo"}
    answer = machine.client.post("/api/sessions", json=body)
    assert (answer.status_code, answer.json()["code"]) == (503, "plugin-failed")
    assert "it did not start" in answer.json()["detail"]
    assert "no licence" in answer.json()["detail"]
    answer = machine.client.get("/api/plugins/lame/door")
    assert (answer.status_code, answer.json()["code"]) == (503, "plugin-failed")


def test_a_runner_that_does_not_start_is_told_and_started_again(machine):
    in_the_way = machine.state_dir / "runner" / "oqto-runner.sock"
    in_the_way.unlink(missing_ok=True)
    machine.state_dir.mkdir(exist_ok=True, mode=0o700)
    in_the_way.mkdir(parents=True)
    assert refused(machine).startswith("oqto: runner ended at once (exit 1): ")
    machine.env["OQTO__RUNTIME__FAIL_FAST"] = "false"
    machine.start()
    signed_in(machine)
    assert set(failing(machine)) == {"runner"}
    assert machine.client.get("/health/ready").status_code == 503
    answer = machine.client.post("/api/sessions", json={"workspace": str(machine.workspace)})
    assert (answer.status_code, answer.json()["code"]) == (503, "runner-unavailable")
    in_the_way.rmdir()
    until(lambda: failing(machine) == {})
    assert machine.start_session(harness="echo")["state"] == "running"


@pytest.mark.parametrize("what", ["data", "audit", "folder"])
def test_what_a_server_cannot_be_without_ends_the_start_either_way(machine, what):
    """Last: it breaks the machine."""
    machine.env["OQTO__RUNTIME__FAIL_FAST"] = "false"
    if what == "audit":
        machine.env["OQTO__LOGGING__AUDIT_FILE"] = "/proc/audit.log"
        sentence = refused(machine)
        del machine.env["OQTO__LOGGING__AUDIT_FILE"]
        assert "[logging] audit_file: cannot write /proc/audit.log" in sentence
    elif what == "folder":
        machine.env["OQTO__PATHS__DATA_DIR"] = "/proc/data"
        sentence = refused(machine)
        assert "[paths] data_dir: /proc/data cannot be made: No such file or directory; make it" in sentence
        assert "start-up check failed" in machine.log.read_text()
    else:
        machine.data_dir.mkdir(exist_ok=True, mode=0o700)
        for file in (machine.data_dir / "oqto.db", *machine.data_dir.glob("oqto.db-*")):
            file.touch(mode=0o600)
            file.write_bytes(b"no database at all, but long enough to be looked at" * 100)
        sentence = refused(machine)
        assert f"the database {machine.data_dir}/oqto.db cannot be opened: file is not a database" in sentence
        assert "bring the newest backup back" in sentence
