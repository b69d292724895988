"""A plan from memory is the plan that would be made now, whatever happened to the disk and the policy meanwhile."""

# ruff: noqa: PTH101, PTH102, PTH103, PTH104, PTH107, PTH112, PTH114, PTH116, PTH120, PTH211 - names are text here

from __future__ import annotations

import builtins
import contextlib
import io
import json
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oqto_plugin_sandbox.plan import opening
from oqto_plugin_sandbox.plan.compose import compose
from oqto_plugin_sandbox.plan.looks import MOST_KEPT, Looks, Memory, kind_of
from oqto_plugin_sandbox.plan.model import Bind, Copy, Hide, Request
from oqto_plugin_sandbox.plan.planned import planned
from oqto_plugin_sandbox.plan.simulate import show
from oqto_plugin_sandbox.policy.load import Owner, load, read

from oqto_platform.errors import ConfigError, OqtoError, Unconfined

PLACES = (
    "a", "a/key.pem", "a/s.sock", ".bashrc", ".ssh", ".ssh/id", ".npm", ".config", ".config/gh", ".cache/pip",
    "ws/.oqto", "ws/.vscode", "ws/.git", "ws/.git/modules/x/HEAD", "ws/key.pem", "ws/b/key.pem",
)  # fmt: skip
paths = st.sampled_from(PLACES)
denied = st.lists(paths.map("~/{}".format) | st.sampled_from(["~/**/*.pem", "~/ws/b/*"]), max_size=2)
policies = st.fixed_dictionaries({
    "home": st.sampled_from(["ro", "private", "rw"]),
    "deny_read": denied,
    "deny_write": denied,
    "allow_read": st.lists(st.sampled_from(["~/a", "~/.config"]), max_size=2),
    "profile": st.sampled_from(["minimal", "development", "strict"]),
})  # fmt: skip
edits = st.lists(
    st.tuples(st.just("policy"), policies)
    | st.tuples(st.just("restrict"), st.sampled_from(['deny_read = ["b"]\n', 'home = "private"\n']))
    | st.tuples(st.sampled_from(["file", "large", "folder", "closed", "socket"]), paths)
    | st.tuples(st.sampled_from(["file", "remove", "open"]), paths)
    | st.tuples(st.sampled_from(["link", "name", "move"]), st.tuples(paths, paths)),
    min_size=2,
    max_size=6,
)


class Tree:
    """A home that is edited at random; what is impossible does not happen."""

    def __init__(self, root: str) -> None:
        self.home = f"{root}/home"
        self.workspace = f"{self.home}/ws"
        self.owner = Owner(
            home=self.home, uid=os.getuid(), system_files=(f"{root}/sandbox.toml",), system_uid=os.getuid()
        )
        self._sockets = contextlib.ExitStack()
        os.makedirs(f"{self.workspace}/.git")

    def edit(self, kind: str, what) -> None:
        with contextlib.suppress(OSError):
            getattr(self, f"_{kind}")(*([what] if isinstance(what, (str, dict)) else what))

    def _at(self, name: str) -> str:
        path = f"{self.home}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def _policy(self, stated: dict) -> None:
        text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in stated.items())
        Path(self.owner.system_files[0]).write_text(text)

    def _restrict(self, text: str) -> None:
        Path(self._at("ws/.oqto/sandbox.toml")).write_text(text)

    def _file(self, name: str) -> None:
        Path(self._at(name)).write_text("content")

    def _large(self, name: str) -> None:
        Path(self._at(name)).write_text("content" * 10_000)

    def _folder(self, name: str) -> None:
        os.mkdir(self._at(name))

    def _socket(self, name: str) -> None:
        """The kernel lists it as long as it is open."""
        bound = socket.socket(socket.AF_UNIX)
        self._sockets.callback(bound.close)
        bound.bind(self._at(name))

    def _remove(self, name: str) -> None:
        path = self._at(name)
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.remove(path)

    def _closed(self, name: str) -> None:
        os.chmod(self._at(name), 0o000)

    def _open(self, name: str) -> None:
        os.chmod(self._at(name), 0o755)

    def _link(self, name: str, target: str) -> None:
        path = self._at(name)
        with contextlib.suppress(OSError):
            os.remove(path)
        os.symlink(f"{self.home}/{target}", path)

    def _name(self, name: str, other: str) -> None:
        os.link(self._at(name), self._at(other))

    def _move(self, name: str, other: str) -> None:
        os.rename(self._at(name), self._at(other))

    def close(self) -> None:
        """So that it can be removed."""
        self._sockets.close()
        for folder, names, _ in os.walk(self.home):
            for name in names:
                with contextlib.suppress(OSError):
                    os.chmod(f"{folder}/{name}", 0o755)


def said(work):
    """The answer, or the refusal in words."""
    try:
        return work()
    except (OqtoError, OSError) as exc:
        return type(exc), str(exc)


def check(tree: Tree) -> None:
    policy = said(lambda: load(tree.owner, tree.workspace))
    assert policy == said(lambda: read(tree.owner, tree.workspace, Looks()))
    if isinstance(policy, tuple):
        return
    request = Request(workspace=tree.workspace, home=tree.home, uid=os.getuid(), reserves=True)
    assert said(lambda: planned(policy, request)) == said(lambda: compose(policy, request))


@settings(
    max_examples=30,
    deadline=None,
    database=None,  # the other account cannot write where it would be
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(before=edits, after=edits)
def test_the_remembered_plan_is_the_one_that_would_be_made_now(account, before, after):
    root = os.path.realpath(tempfile.mkdtemp(prefix="oqto-memory-", dir="/var/tmp"))
    tree = Tree(root)
    try:
        for edit in [("policy", {"profile": "development"}), *before]:
            tree.edit(*edit)
        check(tree)
        for edit in after:
            tree.edit(*edit)
            check(tree)
    finally:
        tree.close()
        shutil.rmtree(root)


@pytest.fixture
def tree(own_home):
    found = Tree(str(own_home))
    found.edit("policy", {"profile": "development", "deny_read": ["~/secret", "~/**/*.pem"]})
    for name in (".bashrc", "secret", "ws/file", "deep/down/key.pem"):
        found.edit("file", name)
    yield found
    found.close()


def plan_of(tree: Tree, **options):
    request = Request(workspace=tree.workspace, home=tree.home, uid=os.getuid(), **options)
    return planned(load(tree.owner, tree.workspace), request)


def shows(plan, path: str) -> bool:
    return any(isinstance(op, (Bind, Copy)) and op.dest == path for op in plan.ops)


def test_what_is_denied_a_moment_later_is_not_in_the_plan(tree):
    assert shows(plan_of(tree), f"{tree.home}/.bashrc")
    tree.edit("policy", {"profile": "development", "deny_read": ["~/.bashrc"]})
    assert not shows(plan_of(tree), f"{tree.home}/.bashrc")


def test_a_policy_that_hides_its_edit_is_read_all_the_same(tree):
    """As long as before, with the times from before: in the same tick of the clock that happens by itself."""
    file = tree.owner.system_files[0]
    Path(file).write_text('deny_read = ["~/aaaaaaa"]\n')
    tree.edit("file", "aaaaaaa")
    tree.edit("file", "letters")
    status = os.stat(file)
    assert shows(plan_of(tree), f"{tree.home}/letters")
    Path(file).write_text('deny_read = ["~/letters"]\n')
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert os.stat(file).st_size == status.st_size
    assert not shows(plan_of(tree), f"{tree.home}/letters")


def test_a_policy_that_others_may_write_by_now_is_refused(tree):
    plan_of(tree)
    os.chmod(tree.owner.system_files[0], 0o666)
    with pytest.raises(ConfigError, match="somebody else"):
        plan_of(tree)


def test_a_denied_file_that_appears_below_a_glob_is_hidden(tree):
    plan_of(tree)
    tree.edit("file", "ws/new/other.pem")
    hidden = [op.dest for op in plan_of(tree).ops if isinstance(op, Hide)]
    assert f"{tree.workspace}/new/other.pem" in hidden


def test_a_socket_that_appears_is_out_of_reach(tree):
    tree.edit("file", "documents/letter")
    assert not any(op.dest == f"{tree.home}/documents/agent" for op in plan_of(tree).ops)
    tree.edit("socket", "documents/agent")
    plan = plan_of(tree)
    assert show(plan, f"{tree.home}/documents/letter").state == "ro"
    assert show(plan, f"{tree.home}/documents/agent").state in ("absent", "hidden")


def test_a_folder_that_the_agent_closed_is_refused(tree):
    plan_of(tree)
    os.chmod(f"{tree.workspace}/.git", 0o600)
    with pytest.raises(Unconfined, match="is closed"):
        plan_of(tree)


def test_a_protected_name_that_became_a_link_is_refused(tree):
    plan_of(tree)
    os.symlink("/etc", f"{tree.workspace}/.vscode")
    with pytest.raises(Unconfined, match="symbolic link"):
        plan_of(tree)


def test_a_second_name_of_a_denied_file_is_told(tree):
    assert not plan_of(tree).notes
    os.link(f"{tree.home}/secret", f"{tree.home}/other")
    assert any("hard links" in note for note in plan_of(tree).notes)


def test_nothing_of_one_session_is_in_the_plan_of_another(tree):
    for name in ("one", "two"):
        os.mkdir(f"{tree.home}/{name}")
    for name, other in (("one", "two"), ("two", "one")):
        binds = [op for op in plan_of(tree, writable=(f"{tree.home}/{name}",)).ops if isinstance(op, Bind)]
        writable = {op.dest for op in binds if op.writable}
        assert f"{tree.home}/{name}" in writable
        assert f"{tree.home}/{other}" not in writable


def test_while_nothing_changes_the_plan_is_not_made_again(tree):
    assert plan_of(tree) is plan_of(tree)
    tree.edit("file", "ws/work")  # the agent at work changes nothing that a plan rests on
    tree.edit("file", "documents/letter")
    before = plan_of(tree)
    tree.edit("file", "ws/more/work")
    tree.edit("file", "documents/another")
    assert plan_of(tree) is before


LOOKS = ("stat", "lstat", "scandir", "listdir", "readlink", "open", "access", "getxattr", "statvfs")
IDENTITY = ("getuid", "geteuid", "getgid", "getegid", "getgroups", "getcwd")


def test_planning_sees_the_machine_only_by_looks_that_are_written_down(tree, monkeypatch):
    past: list[str] = []
    ours = Looks.at.__code__

    def watched(place, name):
        original = getattr(place, name)

        def look(*given, **options):
            frame = sys._getframe(1)
            while frame is not None and frame.f_code is not ours:
                frame = frame.f_back
            if frame is None:
                past.append(f"{name}{given}")
            return original(*given, **options)

        monkeypatch.setattr(place, name, look)

    plan_of(tree)  # what is loaded or learned once is not looked up again
    request = Request(workspace=tree.workspace, home=tree.home, uid=os.getuid(), reserves=True)
    for name in (*LOOKS, *IDENTITY):
        watched(os, name)
    watched(builtins, "open")
    watched(io, "open")
    watched(opening, "_openat2")
    compose(read(tree.owner, tree.workspace, Looks()), request)
    monkeypatch.undo()
    assert past == []


def test_an_answer_is_given_again_only_while_its_looks_hold(tmp_path):
    memory, asked = Memory(), []
    file = tmp_path / "file"

    def answer(looks):
        asked.append(looks.at(kind_of, str(file)))
        return len(asked)

    assert [memory.recall("a", answer), memory.recall("a", answer)] == [1, 1]
    file.touch()
    assert [memory.recall("a", answer), memory.recall("a", answer)] == [2, 2]
    file.unlink()
    assert memory.recall("a", answer) == 3, "what it was before the last is forgotten"


def test_a_look_that_fails_later_makes_the_answer_anew(tmp_path):
    memory = Memory()
    file = tmp_path / "file"
    file.write_text("content")
    assert memory.recall("a", lambda looks: looks.at(os.stat, str(file)).st_size) == 7
    file.unlink()
    with pytest.raises(FileNotFoundError):
        memory.recall("a", lambda looks: looks.at(os.stat, str(file)).st_size)


def test_a_refusal_is_never_kept(tmp_path):
    memory = Memory()

    def refuse(looks):
        raise Unconfined("no")

    with pytest.raises(Unconfined):
        memory.recall("a", refuse)
    assert memory.recall("a", lambda looks: "yes") == "yes"


def test_it_keeps_a_few_answers_and_no_more():
    memory, made = Memory(), []
    for question in (*range(MOST_KEPT + 1), MOST_KEPT, 0):
        memory.recall(question, lambda looks: made.append(question))  # noqa: B023
    assert made == [*range(MOST_KEPT + 1), 0]
