"""
Run a test as an ordinary account of this machine, with a home of its own, when root runs the tests.

The test with its fixtures runs in a fork that has given root up. The account exists only there: in a mount
namespace of the fork, in which `/etc/passwd` has one more line, and in which the checkout and Python can be
read even where they lie in root's home. It has control groups of its own, as systemd's `Delegate=yes` gives them.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import shutil
import sys
import tempfile
import traceback
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

NAME, UID = "oqto-test", 48_213
ROOT = Path(__file__).resolve().parents[2]
CGROUP = Path("/sys/fs/cgroup")
RUST = {
    name: Path(os.environ.get(name, Path.home() / folder))
    for name, folder in (("RUSTUP_HOME", ".rustup"), ("CARGO_HOME", ".cargo"))
}
"""Where a Rust lies that is not the system's."""
NEWNS, PRIVATE, BIND, RECURSIVE, SET_DUMPABLE = 0x20000, 1 << 18, 4096, 16384, 4
NOT_THEIRS = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")


def run(item: pytest.Item) -> list[pytest.TestReport]:
    """The reports of `item`, run by the ordinary account. Fixtures of a wider scope are left to the parent."""
    item.config._tmp_path_factory.getbasetemp()  # made now, while it can be
    with _home() as home, _groups() as groups, tempfile.TemporaryFile() as answers:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the fork needs no thread of the parent
            pid = os.fork()
        if not pid:
            _in_fork(item, home, groups, answers)
        os.waitpid(pid, 0)
        assert answers.tell(), f"the fork that ran {item.nodeid} as {NAME} ended without a report"
        answers.seek(0)
        told = pickle.load(answers)
    read = item.config.hook.pytest_report_from_serializable
    return [read(config=item.config, data=data) for data in told]


@contextmanager
def _home():
    folder = Path(tempfile.mkdtemp(prefix="oqto-account-", dir="/home"))
    try:
        folder.chmod(0o755)
        (folder / "home").mkdir(mode=0o750)
        os.chown(folder / "home", UID, UID)
        yield folder / "home"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _groups():
    """Folders of control groups that belong to the account, where this machine lets root make any."""
    made = [folder for folder in map(_group, _hierarchies()) if folder]
    try:
        yield made
    finally:
        for folder in made:
            for path, _, _ in os.walk(folder, topdown=False):
                with suppress(OSError):
                    Path(path).rmdir()


def _hierarchies() -> list[Path]:
    """Where groups for memory, processes and processor time are made: of version 1 one for each, of version 2 the one for both."""
    found = [CGROUP / name for name in ("memory", "pids", "cpuacct")]
    return [folder for folder in (CGROUP, *found) if (folder / "cgroup.procs").exists()]


def _group(hierarchy: Path) -> Path | None:
    """As systemd hands a group over: the folder and what a manager writes to, with systemd's mark on it."""
    folder = hierarchy / f"oqto-test-{os.getpid()}"
    try:
        folder.mkdir(exist_ok=True)
        for name in ("", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"):
            with suppress(FileNotFoundError):
                os.chown(folder / name, UID, UID)
        with suppress(OSError):
            os.setxattr(folder, "user.delegate", b"1")
    except OSError:
        return None
    return folder


def _in_fork(item: pytest.Item, home: Path, groups: list[Path], answers) -> None:
    """Never returns: whatever would be cleaned up on the way out is the parent's."""
    try:
        for folder in groups:
            (folder / "cgroup.procs").write_text("0")
        become_ordinary(home)
        reports = runtestprotocol(item, log=False, nextitem=item.parent)  # ends what is of this test alone
        data = item.config.hook.pytest_report_to_serializable
        told = [data(config=item.config, report=report) for report in reports]
        pickle.dump(told, answers)
        answers.flush()
    except BaseException:  # the parent only sees that no report came; this tells why
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(0)


def become_ordinary(home: Path) -> None:
    """Give root up for good. Afterwards this process is the account's, which may look at it under /proc."""
    library = ctypes.CDLL(None, use_errno=True)
    _check(library.unshare(NEWNS), "unshare")
    _mount(library, "none", "/", PRIVATE | RECURSIVE)
    python = [Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()]
    _open_up(library, [ROOT, *python, *(path for path in RUST.values() if path.is_dir())])
    _add_account(library, home)
    os.chdir(ROOT)
    os.setgroups([])
    os.setresgid(UID, UID, UID)
    os.setresuid(UID, UID, UID)
    _check(library.prctl(SET_DUMPABLE, 1, 0, 0, 0), "prctl")
    os.environ.update(HOME=str(home), USER=NAME, LOGNAME=NAME, RUSTUP_HOME=str(RUST["RUSTUP_HOME"]))
    for name in NOT_THEIRS:
        os.environ.pop(name, None)


def _open_up(library, places: list[Path]) -> None:
    """Put a passable folder over each closed one above the places, with nothing but the places in it."""
    while closed := next(
        (folder for place in places for folder in reversed(place.parents) if _is_closed(folder)), None
    ):
        below = {place: os.open(place, os.O_PATH) for place in places if place.is_relative_to(closed)}
        _mount(library, "tmpfs", closed, 0, "tmpfs", "mode=755")
        for place, fd in below.items():
            place.mkdir(parents=True, exist_ok=True)
            _mount(library, f"/proc/self/fd/{fd}", place, BIND | RECURSIVE)
            os.close(fd)


def _is_closed(folder: Path) -> bool:
    return not folder.stat().st_mode & 0o001


def _add_account(library, home: Path) -> None:
    for name, line in (("passwd", f"{NAME}:x:{UID}:{UID}::{home}:/bin/bash"), ("group", f"{NAME}:x:{UID}:")):
        file = home.parent / name
        file.write_text(Path(f"/etc/{name}").read_text().rstrip("\n") + f"\n{line}\n")
        _mount(library, file, f"/etc/{name}", BIND)


def _mount(library, source, target, flags: int, kind: str = "", options: str = "") -> None:
    words = [os.fsencode(word) or None for word in (source, target, kind)]
    done = library.mount(*words, ctypes.c_ulong(flags), os.fsencode(options) or None)
    _check(done, f"mount {target}")


def _check(answer: int, what: str) -> None:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
