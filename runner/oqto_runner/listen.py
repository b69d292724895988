"""The runner's socket: inherited from systemd, or its own; and the word to systemd that it is ready."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from oqto_platform.errors import OqtoError

_FIRST_INHERITED = 3


class SocketTaken(OqtoError):
    """Another runner answers on the socket."""

    code, status, title = "socket-taken", 409, "Socket in use"


def default_path() -> Path:
    """`$XDG_RUNTIME_DIR/oqto-runner.sock`; `/run/user/<uid>` where the variable is missing."""
    return Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}") / "oqto-runner.sock"


def inherited() -> socket.socket | None:
    """The listening socket of socket activation, if there is one for this process."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or int(os.environ.get("LISTEN_FDS", "0")) < 1:
        return None
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    os.set_inheritable(_FIRST_INHERITED, False)
    return socket.socket(fileno=_FIRST_INHERITED)


def own(path: Path, *, is_shared: bool) -> socket.socket:
    """
    Listen on `path`; replaces a socket that nobody answers on. Raises `SocketTaken`.

    `is_shared`: another uid may ask (the core's), so the group gets access as well.
    """
    _make_parent(path.parent)
    _replace_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as exc:
        raise SocketTaken(f"cannot listen on {path}: {exc.strerror}") from exc
    finally:
        os.umask(old)
    path.chmod(0o660 if is_shared else 0o600)
    listener.listen(128)
    return listener


def notify(state: str) -> None:
    """Tell systemd, where it asked for it (`NOTIFY_SOCKET`)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.sendall(state.encode())


def _make_parent(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise SocketTaken(
            f"cannot make {folder} for the socket: {exc.strerror}; name another with --socket"
        ) from exc


def _replace_stale(path: Path) -> None:
    if not path.is_socket():
        if path.exists():
            raise SocketTaken(f"{path} is a file; remove it, or name another socket with --socket")
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as exc:
            raise SocketTaken(f"{path} does not answer, but somebody holds it: {exc}") from exc
    raise SocketTaken(f"another runner answers on {path}; stop it, or name another socket with --socket")
