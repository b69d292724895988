"""Network, sockets and the relays that lead out. Each attack has a twin: the harmless thing next to it still works."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time

import pytest

from oqto_platform.errors import ConfigError, Unconfined
from oqto_platform.types import Relay

pytestmark = pytest.mark.real


# -- E: network and sockets --------------------------------------------------------------------------


def test_e02_e03_isolated_has_a_loopback_of_its_own_and_nothing_else(box):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = (
            "import socket,os\n"
            f"for target in (('127.0.0.1', {port}), ('1.1.1.1', 53)):\n"
            "    try: socket.create_connection(target, 2); print('REACHED')\n    except OSError: pass\n"
            "s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()); print(sorted(os.listdir('/proc/self/net/dev_snmp6')) if 0 else 'twin')"
        )
        assert box.python(script, policy="isolate_network = true").out == "twin\n"
        assert box.sh(
            "tail -n +3 /proc/net/dev | cut -d: -f1; tail -n +2 /proc/net/route",
            policy="isolate_network = true",
        ).out.split() == ["lo"]


def test_e05_families_that_reach_further(box):
    script = "import socket\nfor f, t in ((40, 1), (38, 5), (17, 3), (16, 3)):\n    try: socket.socket(f, t); print(f, 'open')\n    except OSError as e: print(f, e.errno)\nsocket.socket(2, 1); socket.socket(1, 1); print('twin')"
    assert box.python(script).out == "40 97\n38 97\n17 97\n16 open\ntwin\n"


@pytest.mark.parametrize("mode", ["open", "isolated"])
def test_e05_neither_raw_packets_nor_changes_of_the_network(box, mode):
    """An answer of netlink is a header of 16 bytes and the error as a negative number."""
    script = (
        "import socket, struct\n"
        "try: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); print('RAW')\nexcept PermissionError: print('no raw')\n"
        "def ask(kind, flags, body):\n"
        "    s = socket.socket(16, socket.SOCK_RAW, 0); s.sendall(struct.pack('=IHHII', 16 + len(body), kind, flags, 1, 0) + body)\n"
        "    return struct.unpack_from('=H', answer := s.recv(65536), 4)[0], struct.unpack_from('=i', answer, 16)[0]\n"
        "kind, error = ask(16, 0x605, struct.pack('=BxHiII', 0, 0, 0, 0, 0) + struct.pack('=HH', 9, 3) + b'new0\\0\\0\\0\\0')\n"
        "print(kind == 2 and error == -1)\n"
        "print(ask(18, 0x301, bytes(16))[0] == 16)\n"
    )
    done = box.python(script, policy=f'network.mode = "{mode}"')
    assert done.out == "no raw\nTrue\nTrue\n", done.err


@pytest.mark.parametrize("family", [1, 1 + 2**32])
def test_e06_e08_e09_no_unix_sockets_in_strict(box, family):
    path = box.workspace / "s.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        box.own()
        script = (
            "import ctypes,socket\nl = ctypes.CDLL(None, use_errno=True); l.syscall.argtypes = [ctypes.c_long, ctypes.c_ulong, ctypes.c_long, ctypes.c_long, ctypes.c_void_p]\n"
            f"print(l.syscall(41, {family}, 1, 0, None), ctypes.get_errno())\n"
            "try: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); print('PAIR')\nexcept PermissionError: print('no pair')\n"
            "a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1))"
        )
        done = box.python(script, policy='profile = "strict"')
        assert done.out == "-1 97\nno pair\nb'x'\n", done.err


def test_e12_abstract_sockets_of_the_host_are_out_of_reach(box):
    name = f"\0oqto-test-{os.getpid()}-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        script = f"import socket\nfor kind in (socket.AF_UNIX,):\n    s = socket.socket(kind)\n    try: s.connect({name!r}); print('REACHED')\n    except OSError as e: print('twin')"
        assert box.python(script).out == "twin\n"
        assert box.python(script, policy="isolate_network = true").out == "twin\n"


def test_e14_places_of_sockets_are_absent(box):
    assert (
        box.sh(
            "ls /run /var/run /var/lib /sys /home /mnt /srv 2>/dev/null | grep -v '^/' | grep -v '^$' | head; ls / > /dev/null; echo twin"
        ).out
        == "twin\n"
    )


@pytest.mark.parametrize("mode", ["isolated", "proxy"])
def test_e14_a_service_of_somebody_else_cannot_be_reached(box, mode):
    """A development server or a database of another account on this machine's loopback."""
    with socket.create_server(("127.0.0.1", 0)) as theirs, socket.create_server(("0.0.0.0", 0)) as wide:
        ports = [server.getsockname()[1] for server in (theirs, wide)]
        own = socket.gethostbyname(socket.gethostname())
        script = (
            "import socket\n"
            f"for host in ('127.0.0.1', '{own}', 'localhost'):\n"
            f"    for port in {ports}:\n"
            "        try: socket.create_connection((host, port), 2); print('REACHED', host, port)\n"
            "        except OSError: pass\n"
            "s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname(), 2); print('twin')"
        )
        done = box.python(script, policy=f'network.mode = "{mode}"')
    assert done.out == "twin\n", done.err


# -- relays ------------------------------------------------------------------------------------------


def test_a_relay_carries_many_megabytes_both_ways_and_nothing_else_is_reachable(box):
    import threading

    path = box.root / "llm.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(0o777)
        server.listen(8)
        server.settimeout(30)

        def echo():
            for _ in range(3):
                with server.accept()[0] as connection:
                    while data := connection.recv(1 << 16):
                        connection.sendall(data)

        thread = threading.Thread(target=echo)
        thread.start()
        script = (
            "import hashlib, socket, threading\n"
            "def once(n):\n"
            "    data = bytes(range(256)) * 4096 * n\n"
            "    c = socket.create_connection(('127.0.0.1', 41800), 20)\n"
            "    t = threading.Thread(target=lambda: (c.sendall(data), c.shutdown(socket.SHUT_WR))); t.start()\n"
            "    got = b''.join(iter(lambda: c.recv(1 << 16), b'')); t.join()\n"
            "    return got == data\n"
            "print([once(n) for n in (1, 16, 4)])\n"
        )
        done = box.python(
            script, policy="isolate_network = true", relays=(Relay(port=41800, socket=str(path)),)
        )
        thread.join(10)
        assert done.out == "[True, True, True]\n", done.err


def test_a_relay_whose_service_is_missing_is_refused(box):
    with pytest.raises(Unconfined, match="not running"):
        box.sh(
            "echo RAN",
            policy="isolate_network = true",
            relays=(Relay(port=41800, socket=str(box.root / "none.sock")),),
        )


def test_e11_e33_buses_and_brokers_of_the_host_are_absent(box):
    script = (
        "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/dbus/system_bus_socket; systemd-run --user id; busctl list; dbus-send --system x y;"
        "for f in /run/dbus/system_bus_socket /run/user/*/bus /var/run/docker.sock /run/containerd/containerd.sock /dev/log /run/systemd/private"
        " /tmp/.X11-unix/X0 /run/user/*/wayland-0; do [ -e $f ] && echo $f; done; echo twin"
    )
    assert box.sh(script).out == "twin\n"


def test_e30_a_session_has_only_its_own_relay(box):
    paths = [box.root / "one.sock", box.root / "two.sock"]
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        for server, path in zip((one, two), paths, strict=True):
            server.bind(str(path))
            path.chmod(0o777)
            server.listen()
        script = f"ls /run/oqto; ls {paths[1]} 2> /dev/null; (echo x > /run/oqto/new) 2> /dev/null && echo WRITTEN; true"
        done = box.sh(
            script, policy="isolate_network = true", relays=(Relay(port=41800, socket=str(paths[0])),)
        )
    assert done.out == "41800.sock\n"


# -- sockets of the host in folders that are shown -----------------------------------------------------

TRY = "import socket, sys\nfor path in sys.argv[1:]:\n    try: socket.socket(socket.AF_UNIX).connect(path); print('REACHED')\n    except OSError as e: print(e.strerror)"


@contextlib.contextmanager
def served(path):
    """A program of the person listens there, as container managers and password managers do."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield


@pytest.mark.parametrize("mode", ["open", "proxy", "isolated"])
def test_e06_a_socket_in_a_folder_of_the_home_cannot_be_reached(box, mode):
    manager, again = box.home / ".docker/desktop/docker.sock", box.home / ".tool/deep/agent.sock"
    own = box.workspace / "s.sock"
    for path in (manager, again):
        box.write(path.parent / "notes", "harmless")
    script = f"{TRY}\nprint(open({str(again.parent / 'notes')!r}).read())"
    with served(manager), served(again), served(own):
        done = box.python(script, str(manager), str(again), str(own), policy=f'network.mode = "{mode}"')
    assert done.out == "No such file or directory\nNo such file or directory\nREACHED\nharmless\n", done.err


def test_a_socket_that_is_bound_again_during_the_session_stays_out_of_reach(box):
    path = box.home / ".tool/deep/agent.sock"
    box.write(path.parent / "notes")
    script = f"import sys\nprint('ready', flush=True)\ninput()\n{TRY}"
    with served(path):
        process = box.start("/usr/bin/python3", "-c", script, str(path), stdin=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
    path.unlink()
    with served(path):
        assert process.communicate(b"go\n", timeout=30)[0] == b"No such file or directory\n"


def test_a_socket_that_the_base_file_opens_can_be_reached(box):
    path = box.home / ".tool/agent.sock"
    box.write(path.parent / "notes")
    with served(path):
        policy = f'unix_sockets.allow = ["{path}"]\nisolate_network = true'
        assert box.python(TRY, str(path), policy=policy).out == "REACHED\n"


@pytest.mark.parametrize(
    "path", ["/var/run/docker.sock", "~/.docker/run/docker.sock", "/run/dbus/system_bus_socket"]
)
def test_a_socket_that_is_as_good_as_root_is_refused(box, path):
    with pytest.raises(ConfigError, match=r"unix_sockets\.allow: whoever reaches .* can do anything"):
        box.policy(f'unix_sockets.allow = ["{path}"]')
