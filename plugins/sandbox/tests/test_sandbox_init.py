"""The first process inside, as a program: what is in the package is what its source gives, and it fails closed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import socket
import struct
import subprocess
from pathlib import Path

import pytest
from oqto_plugin_sandbox import first
from oqto_plugin_sandbox.plan.render import SEALS, Descriptors

from oqto_platform.errors import Unconfined
from oqto_platform.types import Relay

ROOT = Path(__file__).resolve().parents[3]
PROCESSORS = {"x86_64": 62, "aarch64": 183}
"""Their numbers in the header of an executable (`e_machine`, linux/elf-em.h)."""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(*statements, argv=("/bin/echo", "RAN")):
    """The program alone, without a sandbox around it."""
    with Descriptors() as owned:
        program = owned.memory("program", first.program(), is_program=True)
        config = owned.memory("config", b"".join(word.encode() + b"\0" for word in statements) or b"\0")
        done = subprocess.run(
            [f"/proc/self/fd/{program}", str(config), *argv], pass_fds=owned.fds, capture_output=True, text=True, check=False
        )  # fmt: skip
        owned.close()
    return done


def test_the_programs_are_built_from_the_source_that_is_here():
    """Without a compiler: `make init` wrote down what it read and what it made; `make init ARGS=--check` builds."""
    places = [ROOT / "requirements", first.FOLDER, first.FOLDER / "source"]
    lines = dict(reversed(line.split()) for line in (first.FOLDER / "SHA256SUMS").read_text().splitlines())
    assert {path.name for path in (first.FOLDER / "source").iterdir()} < set(lines)
    for name, wanted in lines.items():
        path = next(folder / name for folder in places if (folder / name).exists())
        assert digest(path) == wanted, f"{name} has changed since the programs were built. Repair: make init"


@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_program_needs_nothing_of_the_machine_but_its_processor(processor):
    content = (first.FOLDER / f"init-{processor}").read_bytes()
    assert content[:6] == b"\x7fELF\x02\x01"
    assert struct.unpack_from("<H", content, 18) == (PROCESSORS[processor],)
    start, size, count = (*struct.unpack_from("<Q", content, 32), *struct.unpack_from("<HH", content, 54))
    kinds = {struct.unpack_from("<I", content, start + size * at)[0] for at in range(count)}
    assert not {2, 3} & kinds, "it wants a dynamic loader"


def test_on_another_processor_it_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    first.program.cache_clear()
    try:
        with pytest.raises(Unconfined, match=r"cannot read .*init-riscv64"):
            first.program()
    finally:
        first.program.cache_clear()


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ((), "unknown statement"),
        (("surprise", "1"), "unknown statement surprise"),
        (("mount", "ro"), "ends in the middle"),
        (("group", "many"), "not a number: many"),
        (("group", "999"), "cannot enter the control group"),
        (("mount", "ro", "/nowhere at\\040all"), "nothing is mounted at /nowhere at\\040all"),
        (("mount", "ro", "/proc"), "/proc is writable"),
        (("status", "Seccomp", "7"), "Seccomp is"),
        (("status", "NoSuchLine", "1"), "NoSuchLine is missing, not 1"),
    ],
)
def test_what_it_does_not_understand_or_find_stops_the_start(statements, message):
    done = run(*statements)
    assert (done.returncode, done.stdout) == (125, "")
    assert message in done.stderr


def test_a_configuration_with_a_zero_byte_in_a_word_is_refused():
    with pytest.raises(Unconfined, match="zero byte"):
        first.words([("mount", "ro", "/a\0b")])


def test_what_is_handed_over_can_be_changed_by_nobody():
    with Descriptors() as owned:
        fd = owned.memory("program", first.program(), is_program=True)
        assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) == SEALS
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
        owned.close()


@pytest.mark.real
def test_a_client_that_is_gone_takes_its_connection_along(box):
    """It reset the connection while the service kept it open and silent."""
    script = """
import socket, struct
s = socket.create_connection(("127.0.0.1", 41801))
s.sendall(b"hello")
assert s.recv(2) == b"ok"
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
s.close()
print(input())
"""
    path = box.root / "silent.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        box.own()
        relay = Relay(port=41801, socket=str(path))
        process = box.start(
            "/usr/bin/python3", "-c", script, stdin=subprocess.PIPE, policy="isolate_network = true", relays=(relay,)
        )  # fmt: skip
        server.settimeout(30)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(30)
            assert connection.recv(5) == b"hello"
            connection.sendall(b"ok")
            assert connection.recv(1) == b""
        out, err = process.communicate(b"still there\n", timeout=30)
    assert (process.returncode, out) == (0, b"still there\n"), err


@pytest.mark.real
def test_a_client_waits_for_a_service_that_is_too_busy_to_take_it(box):
    """Its queue is full: a connection that does not wait is refused at once."""
    script = """
import socket
print("asks", flush=True)
s = socket.create_connection(("127.0.0.1", 41801))
s.sendall(b"hello")
print(s.recv(2))
"""
    path = box.root / "busy.sock"
    with (
        socket.socket(socket.AF_UNIX) as server,
        socket.socket(socket.AF_UNIX) as first,
        socket.socket(socket.AF_UNIX) as other,
    ):
        server.bind(str(path))
        server.listen(0)
        box.own()
        first.connect(str(path))
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.connect(str(path))
        relay = Relay(port=41801, socket=str(path))
        process = box.start(
            "/usr/bin/python3", "-c", script, policy="isolate_network = true", relays=(relay,)
        )
        assert process.stdout.readline() == b"asks\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        server.settimeout(30)
        server.accept()[0].close()
        connection, _ = server.accept()
        with connection:
            connection.settimeout(30)
            assert connection.recv(5) == b"hello"
            connection.sendall(b"ok")
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, b"b'ok'\n"), err


@pytest.mark.real
def test_a_copied_file_of_the_home_is_the_host_s_with_its_rights(box):
    """Small files of the home are copied, larger ones mounted; neither can be written, and both look the same."""
    box.write(box.home / ".toolrc", "small\n", mode=0o600)
    box.write(box.home / ".run", "#!/bin/sh\necho ran\n", mode=0o755)
    box.write(box.home / ".large", "x" * 100_000)
    done = box.sh(
        "cat ~/.toolrc; ~/.run; wc -c < ~/.large; stat -c %a ~/.toolrc;"
        "for f in .toolrc .run .large; do echo y > ~/$f; rm -f ~/$f; mv ~/$f ~/moved; chmod 777 ~/$f; done; cat ~/.toolrc"
    )
    assert done.out == "small\nran\n100000\n600\nsmall\n", done.err
    assert (box.home / ".toolrc").read_text() == "small\n"


@pytest.mark.real
def test_a_pipe_that_replaces_a_file_after_the_plan_makes_nobody_wait(box):
    from oqto_plugin_sandbox.plan.render import Vanished

    box.write(box.home / ".toolrc", "small\n")
    box.sh("true")
    cage = box.cage("/bin/true")
    (box.home / ".toolrc").unlink()
    os.mkfifo(box.home / ".toolrc")
    with pytest.raises(Vanished, match="no small file any more"):
        box.confined(cage=cage)
