"""How a confined process behaves, and what happens when something is not as planned. Each attack has a twin: the harmless thing next to it still works."""

from __future__ import annotations

import os
import subprocess

import pytest

pytestmark = pytest.mark.real


# -- how a process behaves ---------------------------------------------------------------------------


def test_streams_and_exit_codes_pass_through(box):
    process = box.start("/bin/bash", "-c", "cat; echo problem >&2; exit 7", stdin=subprocess.PIPE)
    out, err = process.communicate(b"line one\nline two\n", timeout=30)
    assert (out, err, process.returncode) == (b"line one\nline two\n", b"problem\n", 7)
    assert box.sh("kill -9 $$").code == 137
    assert box.run("/nonexistent/program").code == 127
    assert box.run("/etc/hostname").code == 126


def test_the_group_signal_reaches_the_agent_and_its_answer_comes_back(box):
    import signal

    process = box.start(
        "/bin/bash", "-c", "trap 'echo flushed; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    os.killpg(process.pid, signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert (out, process.returncode) == (b"flushed\n", 5)


def test_what_the_platform_needs_is_visible_wherever_it_lies(box):
    tool, state = box.write(box.home / ".ssh/agent/tool", "tool"), box.home / ".config/oqto/state"
    state.mkdir()
    box.write(box.root / "checkout/lib/module", "module")
    box.write(box.root / "checkout/secret", "CANARY-checkout")
    script = f"cat {tool} {box.root}/checkout/lib/module; echo x > {state}/f; echo x > {tool}; cat {box.root}/checkout/secret ~/.ssh/id_rsa; ls ~/.ssh; true"
    done = box.sh(script, readable=(str(tool.parent), str(box.root / "checkout/lib")), writable=(str(state),))
    assert done.out.startswith("toolmodule")
    assert "CANARY" not in done.all
    assert "id_rsa" not in done.out
    assert (state / "f").read_text() == "x\n"
    assert tool.read_text() == "tool"


# -- F: failing closed -------------------------------------------------------------------------------


def test_f05_a_mount_that_is_not_where_the_plan_says_stops_the_start(box):
    from msgspec.structs import replace

    cage = box.cage("/bin/echo", "RAN")
    from oqto_plugin_sandbox.plan.model import Bind

    # The last step of a race: a folder was replaced by a link after every check.
    box.write(box.workspace / "real/file")
    (box.workspace / "link").symlink_to("real")
    planted = Bind(dest=f"{box.workspace}/link/file", source=str(box.workspace / "file"))
    broken = replace(cage, plan=replace(cage.plan, ops=(*cage.plan.ops, planted)))
    process = box.start(cage=broken)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (125, b"")
    assert b"link/file: a symbolic link leads there" in err


def test_f08_no_litter(box):
    box.repository({"f": "1"})
    before = box.tree()
    box.sh("true")
    assert box.tree() - before <= {
        "home/projects/ws/.oqto",
        "home/.npm",
        *(
            f"home/.cache{n}"
            for n in ("", "/uv", "/pip", "/go-build", "/node", "/pnpm", "/yarn", "/pre-commit")
        ),
        "home/.cargo/git",
    }
    assert (
        subprocess.run(
            ["git", "-c", "safe.directory=*", "status", "--porcelain"],
            cwd=box.workspace,
            capture_output=True,
            check=True,
        ).stdout
        == b""
    )


def test_f17_the_plan_stays_small(box):
    for number in range(12):
        box.write(box.home / f"folder{number}/file", "x")
    assert len(box.cage().plan.ops) < 120
