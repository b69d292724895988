"""Who may talk to the runner, over which socket, and what it says to nonsense."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from oqto_platform import wire

ASK_AS = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
s.sendall(b'{"cmd":"runner.hello"}\\n')
print(s.makefile().read())
"""


def ask_as_nobody(path):
    return subprocess.run([sys.executable, "-c", ASK_AS, path], capture_output=True, text=True, check=False)


def open_door(runner, tmp_path):
    """Let file permissions pass, so that only the runner's own check is left."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder == Path("/tmp"):
            break
        folder.chmod(0o755)
    Path(runner.socket).chmod(0o666)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another uid")
async def test_a_foreign_uid_is_refused_and_an_allowed_one_is_not(new_runner, tmp_path):
    await new_runner.start()
    assert Path(new_runner.socket).stat().st_mode & 0o777 == 0o600
    assert "Permission" in (await asyncio.to_thread(ask_as_nobody, new_runner.socket)).stderr
    open_door(new_runner, tmp_path)
    told = json.loads((await asyncio.to_thread(ask_as_nobody, new_runner.socket)).stdout)
    assert told["problem"]["code"] == "forbidden"
    new_runner.terminate()
    await new_runner.start("--allow-uid", "65534")
    assert Path(new_runner.socket).stat().st_mode & 0o777 == 0o660
    open_door(new_runner, tmp_path)
    told = json.loads((await asyncio.to_thread(ask_as_nobody, new_runner.socket)).stdout)
    assert told["reply"] == "hello"


async def raw(runner, data, *, end=True):
    reader, writer = await asyncio.open_unix_connection(runner.socket, limit=wire.LIMIT)
    try:
        writer.write(data)
        if end:
            writer.write_eof()
        async with asyncio.timeout(20):
            return await reader.readline()
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"not json\n", "cannot be read"),
        (b'{"cmd":"session.fly"}\n', "session.fly"),
        (b'{"cmd":"session.status"}\n', "session_id"),
        (b'{"cmd":"session.status","session_id":7}\n', "session_id"),
        (
            b'{"cmd":"session.send","session_id":"s","command":{"cmd":"set_thinking_level","level":"x"}}\n',
            "level",
        ),
        (b"\xff\xfe\n", "cannot be read"),
        (b'{"cmd":"runner.hello"', "cannot be read"),
    ],
)
async def test_a_bad_line_is_answered_with_what_is_wrong(runner, line, words):
    reply = json.loads(await raw(runner, line))
    assert reply["reply"] == "failed"
    assert reply["problem"]["code"] == "invalid"
    assert words in reply["problem"]["detail"]


async def test_unknown_fields_of_a_newer_core_are_ignored(runner):
    reply = json.loads(await raw(runner, b'{"cmd":"runner.hello","since":"2.0"}\n'))
    assert reply["reply"] == "hello"


async def test_a_line_without_end_is_refused_and_others_are_served(runner):
    reply = json.loads(await raw(runner, b"x" * (wire.LIMIT + 2**20), end=False))
    assert "longer than 32 MiB" in reply["problem"]["detail"]
    assert (await runner.call(wire.Hello())).runner_id == "test"


async def test_a_large_prompt_is_one_line(runner):
    session_id = await runner.begin()
    said = await runner.turn(session_id, "y" * (4 * 2**20))
    assert said.text == ["y" * (4 * 2**20) + " "]


async def test_a_second_runner_does_not_take_the_socket_and_a_stale_one_is_replaced(runner):
    second = subprocess.run(
        [sys.executable, "-m", "oqto_runner", "--disable-plugin", "sandbox", *runner.arguments()],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert "another runner answers on" in second.stderr
    runner.kill()
    assert Path(runner.socket).exists()
    await runner.start()


async def test_a_second_runner_does_not_touch_the_state_of_the_first(runner, tmp_path):
    session_id = await runner.begin()
    second = subprocess.run(
        [
            sys.executable,
            "-m",
            "oqto_runner",
            "--disable-plugin",
            "sandbox",
            *runner.arguments(),
            "--socket",
            str(tmp_path / "other"),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert "another runner uses" in second.stderr
    assert not (tmp_path / "other").exists()
    assert (await runner.turn(session_id, "still here")).text == ["still here "]


async def test_a_file_in_the_sockets_place_is_not_removed(new_runner, tmp_path):
    Path(new_runner.socket).write_text("precious")
    run = subprocess.run(
        [sys.executable, "-m", "oqto_runner", "--disable-plugin", "sandbox", *new_runner.arguments()],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 1
    assert "is a file" in run.stderr
    assert Path(new_runner.socket).read_text() == "precious"


async def test_an_inherited_socket_is_served_and_systemd_is_told(new_runner, tmp_path):
    script = Path(__file__).with_name("open_runner.py")
    notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notices.bind(str(tmp_path / "notify"))
    notices.settimeout(20)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(new_runner.socket)
    listener.listen()
    launcher = "import os,sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
    new_runner.process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            launcher,
            str(listener.fileno()),
            str(script),
            "--state-dir",
            str(new_runner.state),
            "--runner-id",
            "by systemd",
        ],
        pass_fds=[listener.fileno()],
        env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
        stderr=subprocess.DEVNULL,
    )
    listener.close()
    try:
        assert await asyncio.to_thread(notices.recv, 100) == b"READY=1"
        assert (await new_runner.call(wire.Hello())).runner_id == "by systemd"
        assert new_runner.terminate() == 0
        assert Path(new_runner.socket).exists()
    finally:
        notices.close()


async def test_without_a_sandbox_no_agent_starts_and_the_repair_is_named(new_runner):
    new_runner.process = subprocess.Popen(
        [sys.executable, "-m", "oqto_runner", "--only-plugin", "builtin", *new_runner.arguments()],
        stderr=subprocess.DEVNULL,
    )
    await new_runner.answers()
    from oqto_platform.errors import Unconfined

    with pytest.raises(Unconfined, match="install oqto-plugin-sandbox"):
        await new_runner.begin("ses_free")
    assert (await new_runner.call(wire.List())).sessions == []


async def test_the_runner_stays_small(runner):
    modules = "import sys, oqto_runner.__main__, oqto_runner.daemon, oqto_runner.builtin, oqto_runner.harness.echo; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", modules], text=True).split())
    heavy = {
        "litestar",
        "sqlmodel",
        "sqlalchemy",
        "granian",
        "httpx",
        "alembic",
        "rich",
        "typing_extensions",
        "git",
        "jwt",
    }
    assert not loaded & heavy
    rollup = Path(f"/proc/{runner.process.pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in rollup[1:]}
    assert sizes["Private_Clean"] + sizes["Private_Dirty"] < 30_000
