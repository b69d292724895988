"""A real full disk: a small tmpfs under the runner's state."""

from __future__ import annotations

import os
import subprocess

import pytest

from oqto_platform.errors import DiskFull

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root to mount a small disk")


@pytest.fixture
def small_disk(new_runner):
    new_runner.state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(new_runner.state)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("cannot mount a tmpfs here")
    yield new_runner.state
    new_runner.close()
    subprocess.run(["umount", str(new_runner.state)], check=True)


async def test_a_full_disk_ends_the_turn_in_words_and_the_session_recovers(new_runner, small_disk):
    await new_runner.start()
    session_id = await new_runner.begin()
    async with new_runner.follow(session_id) as follower:
        await new_runner.prompt(session_id, "hello")
        await follower.until("agent.idle")
        await new_runner.prompt(session_id, "flood 100000")
        error = await follower.until("agent.error")
        await follower.until("agent.idle")
        assert error["code"] == "disk-full"
        assert "is full" in error["error"]
        assert [e["seq"] for e in follower.events] == list(range(1, len(follower.events) + 1))

        filler = small_disk / "filler"
        fill(filler)
        with pytest.raises(DiskFull):
            await new_runner.prompt(session_id, "too early", "c1")
        filler.unlink()
        for path in new_runner.folder(session_id).glob("events-0000000000000001*"):
            assert path.stat().st_size > 1_000_000
        make_room(small_disk)
        await new_runner.prompt(session_id, "there is room", "c1")
        ended = await follower.until("agent.idle")
    assert follower.text[-1] == "there is room "
    assert ended["seq"] == follower.events[-1]["seq"]
    await new_runner.stop(session_id)
    assert new_runner.logged(session_id)[-1]["event"] == "session.closed"


def fill(path):
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return


def make_room(disk):
    subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
