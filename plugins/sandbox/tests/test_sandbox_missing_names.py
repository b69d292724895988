"""Denied names that do not exist when a session starts, and names that exist only when it ends."""

# ruff: noqa: PTH119, PTH208 - names are compared as text; a killed runner is imitated from inside

from __future__ import annotations

import asyncio
import os
import subprocess

import pytest
from oqto_plugin_sandbox.policy.load import Owner
from oqto_plugin_sandbox.sandboxes import Sandboxes

from oqto_platform.errors import Unconfined
from oqto_platform.types import SpawnPlan

pytestmark = pytest.mark.real


class Place:
    """A home with a workspace, and the reports of its sandboxes."""

    def __init__(self, root):
        self.root, self.home, self.workspace = root, root / "home", root / "home/ws"
        (self.workspace / ".oqto").mkdir(parents=True)
        (self.home / ".config/app").mkdir(parents=True)
        (root / "state").mkdir()
        self.reports = []

    def sandboxes(self):
        owner = Owner(home=str(self.home), uid=os.getuid(), system_files=(), is_team=False)
        return Sandboxes(
            owner, self.root / "state", lambda *_: None, report=lambda *words: self.reports.append(words)
        )

    def restrict(self, text):
        (self.workspace / ".oqto/sandbox.toml").write_text(text)

    async def start(self, boxes, name, script):
        spawn = SpawnPlan(argv=("/bin/bash", "-c", script), cwd=str(self.workspace))
        confined = await boxes.confine(name, str(self.workspace), spawn)
        try:
            return await asyncio.create_subprocess_exec(
                *confined.argv, env={}, cwd=confined.cwd, pass_fds=confined.fds, start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        finally:
            for fd in confined.fds:
                os.close(fd)

    async def ended(self, process, said=b"go\n"):
        async with asyncio.timeout(30):
            out, err = await process.communicate(said)
        return out.decode(), err.decode()


@pytest.fixture
def place(own_home):
    return Place(own_home)


async def test_a_denied_name_of_the_workspace_cannot_appear_during_a_session(place):
    place.restrict('deny_read = [".env"]')
    boxes = place.sandboxes()
    script = "echo ready; read line; cat .env .env/x; echo x > .env/y; mv .env e; mkdir twin && ls -d twin"
    process = await place.start(boxes, "s", script)
    assert await process.stdout.readline() == b"ready\n"
    with pytest.raises(IsADirectoryError):
        (place.workspace / ".env").write_text("CANARY")
    (place.workspace / ".env/x").write_text("CANARY")
    out, err = await place.ended(process)
    assert (out, "CANARY" in err) == ("twin\n", False)
    (place.workspace / ".env/x").unlink()
    await boxes.close()
    assert not (place.workspace / ".env").exists()


async def test_a_login_on_the_host_during_a_session_stays_hidden_and_stays(place):
    boxes = place.sandboxes()
    process = await place.start(
        boxes, "s", "echo ready; read line; cat ~/.config/gcloud/creds; ls ~/.config/gcloud; ls ~/.config"
    )
    assert await process.stdout.readline() == b"ready\n"
    (place.home / ".config/gcloud").mkdir(exist_ok=True)
    (place.home / ".config/gcloud/creds").write_text("CANARY")
    out, err = await place.ended(process)
    assert "CANARY" not in out + err
    assert "app" in out.split()
    await boxes.close()
    assert (place.home / ".config/gcloud/creds").read_text() == "CANARY"
    assert sorted(os.listdir(place.home / ".config")) == ["app", "gcloud"]


async def test_the_last_of_several_sessions_gives_the_name_back(place):
    place.restrict('deny_read = ["secret"]')
    one, other = place.sandboxes(), place.sandboxes()
    first = await place.start(one, "a", "read line")
    second = await place.start(one, "b", "read line")
    third = await place.start(other, "c", "read line")
    await place.ended(first)
    await one.ended("a")
    assert (place.workspace / "secret").is_dir()
    await place.ended(second)
    await one.ended("b")
    assert (place.workspace / "secret").is_dir(), "another process of the same person uses it"
    await place.ended(third)
    await other.close()
    await one.close()
    assert not (place.workspace / "secret").exists()


async def test_f09_what_a_killed_runner_left_behind_is_removed_by_the_next(place):
    place.restrict('deny_read = ["secret"]')
    (place.workspace / "mine").mkdir()
    killed = place.sandboxes()
    await place.ended(await place.start(killed, "s", "read line"))
    for held in killed._attached.pop("s").held:
        os.close(held.fd)  # as the kernel does
    assert (place.workspace / "secret").is_dir()
    again = place.sandboxes()
    await place.ended(await place.start(again, "s", "read line"))
    await again.close()
    assert not (place.workspace / "secret").exists()
    assert (place.workspace / "mine").is_dir()


async def test_an_empty_folder_of_the_person_is_never_removed(place):
    place.restrict('deny_read = ["secret"]')
    (place.workspace / "secret").mkdir()
    boxes = place.sandboxes()
    await place.ended(await place.start(boxes, "s", "read line"))
    await boxes.close()
    assert (place.workspace / "secret").is_dir()


async def test_f08_no_session_leaves_anything_behind(place):
    subprocess.run(["git", "init", "-q", "."], cwd=place.workspace, check=True)
    place.restrict('deny_read = [".env", "a.key"]')
    boxes = place.sandboxes()
    before = set(os.listdir(place.workspace)) | set(os.listdir(place.home / ".config"))
    for name in ("one", "two"):
        process = await place.start(
            boxes, name, "git status --porcelain; git add -A && echo added; read line"
        )
        out, err = await place.ended(process)
        assert out.endswith("added\n"), err
        assert ".env" not in out
        await boxes.ended(name)
    assert set(os.listdir(place.workspace)) | set(os.listdir(place.home / ".config")) == before


async def test_b23_names_that_other_programs_obey_are_reported_when_they_appear(place):
    (place.workspace / ".idea").mkdir()
    boxes = place.sandboxes()
    script = "mkdir .vscode; echo x > .vscode/tasks.json; echo x > .envrc; echo x > notes; read line"
    await place.ended(await place.start(boxes, "s", script))
    await boxes.ended("s")
    await boxes.ended("s")
    told = [(name, event, os.path.basename(detail)) for name, event, detail in place.reports]
    assert told == [("s", "protected name appeared", name) for name in (".envrc", ".vscode")]


async def test_a14_a_denied_file_with_a_second_name_is_reported(place):
    (place.home / ".netrc").write_text("x")
    os.link(place.home / ".netrc", place.workspace / "link")
    (place.home / ".pypirc").write_text("x")
    boxes = place.sandboxes()
    out, _ = await place.ended(await place.start(boxes, "s", "cat link; cat ~/.netrc; echo twin"))
    assert out == "xtwin\n", "by its other name it can be read, which is why it is told"
    await boxes.close()
    assert [(event, detail.split()[0]) for _, event, detail in place.reports] == [
        ("denial has a gap", str(place.home / ".netrc"))
    ]


async def test_f11_where_a_name_cannot_be_kept_nothing_starts(place, monkeypatch):
    from oqto_plugin_sandbox import stubs

    def full(top, path, mode):
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(stubs, "make_beneath", full)
    place.restrict('deny_read = ["secret"]')
    boxes = place.sandboxes()
    with pytest.raises(Unconfined, match=r"denied name .* free: No space left"):
        await place.start(boxes, "s", "echo RAN")
    assert not boxes._attached


# -- denied files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("home", ["ro", "private"])
async def test_a_denied_file_that_appears_or_is_replaced_stays_out_of_sight(place, home):
    """What `docker login` or `cargo login` do on the host while an agent runs: a new file moved over the name."""
    (place.home / ".docker/contexts").mkdir(parents=True)
    (place.home / ".docker/notes").write_text("harmless")
    (place.home / ".cargo").mkdir()
    (place.home / ".cargo/credentials.toml").write_text("OLD")
    place.restrict(f'home = "{home}"\nallow_read = ["~/.docker", "~/.cargo"]')
    boxes = place.sandboxes()
    script = "echo ready; read line; cat ~/.docker/notes ~/.docker/config.json ~/.cargo/credentials.toml; ls ~/.docker"
    process = await place.start(boxes, "s", script)
    assert await process.stdout.readline() == b"ready\n"
    for name in (".docker/config.json", ".cargo/credentials.toml"):
        (place.home / f"{name}.new").write_text("CANARY")
        (place.home / f"{name}.new").replace(place.home / name)
    out, err = await place.ended(process)
    assert out == "harmlesscontexts\nnotes\n", err
    await boxes.close()
    assert (place.home / ".docker/config.json").read_text() == "CANARY"


async def test_a_denied_name_whose_folder_is_missing_stays_out_of_sight(place):
    place.restrict('deny_read = ["~/work/a/b/key", "later/deep/secret"]')
    (place.home / "work").mkdir()
    boxes = place.sandboxes()
    script = "echo ready; read line; cat ~/work/a/b/key later/deep/secret later/deep/secret/x; ls ~/work; mv later l"
    process = await place.start(boxes, "s", script)
    assert await process.stdout.readline() == b"ready\n"
    (place.home / "work/a/b").mkdir(parents=True)
    (place.home / "work/a/b/key").write_text("CANARY")
    (place.workspace / "later/deep/secret/x").write_text("CANARY")
    out, err = await place.ended(process)
    assert "CANARY" not in out + err
    (place.workspace / "later/deep/secret/x").unlink()
    await boxes.close()
    assert not (place.workspace / "later").exists()


async def test_a_folder_with_very_many_entries_is_masked_and_the_gap_is_told(place):
    (place.home / ".docker").mkdir()
    (place.home / ".docker/config.json").write_text("CANARY")
    for number in range(201):
        (place.home / f".docker/{number}").touch()
    boxes = place.sandboxes()
    out, err = await place.ended(
        await place.start(boxes, "s", "cat ~/.docker/config.json; ls ~/.docker | wc -l")
    )
    assert ("CANARY" in out + err, out) == (False, "202\n")
    await boxes.close()
    assert any("more than 200 entries" in detail for _, _, detail in place.reports)


async def test_a_file_that_vanishes_between_plan_and_mount_is_planned_again(place, monkeypatch):
    from oqto_plugin_sandbox import launch

    (place.home / ".docker").mkdir()
    (place.home / ".docker/lock").touch()
    design = launch.design

    def designed(*arguments, **options):
        cage = design(*arguments, **options)
        (place.home / ".docker/lock").unlink(missing_ok=True)
        return cage

    monkeypatch.setattr(launch, "design", designed)
    boxes = place.sandboxes()
    out, err = await place.ended(await place.start(boxes, "s", "ls -A ~/.docker; echo on"))
    assert (out, err) == ("on\n", "")
    await boxes.close()


# -- what a killed runner leaves, what an agent leaves ---------------------------------------------


@pytest.mark.parametrize("has_marks", [True, False])
async def test_f09_a_runner_that_starts_again_removes_what_nobody_holds(place, has_marks, monkeypatch):
    from oqto_plugin_sandbox import stubs

    if not has_marks:
        monkeypatch.setattr(stubs, "_mark", lambda fd, is_ours: None)
    place.restrict('deny_read = ["secret", "deep/er/secret"]')
    alive, killed = place.sandboxes(), place.sandboxes()
    first = await place.start(alive, "a", "read line")
    place.restrict('deny_read = ["other"]')
    await place.ended(await place.start(killed, "b", "read line"))
    for held in killed._attached.pop("b").held:
        os.close(held.fd)
    assert (place.workspace / "other").is_dir()
    again = place.sandboxes()
    assert not (place.workspace / "other").exists(), "its policy is gone, so no session asks for it again"
    assert (place.workspace / "deep/er/secret").is_dir(), "an agent still runs that may not see it"
    await place.ended(first)
    await alive.close()
    await again.close()
    assert sorted(os.listdir(place.workspace)) == [".oqto"]
    assert list((place.root / "state/reserved").iterdir()) == []


async def test_b18_what_git_would_run_in_any_repository_below_is_told(place):
    boxes = place.sandboxes()
    script = """
    git init -q sub/repo && cd sub/repo && cp .git/hooks/pre-commit.sample .git/hooks/post-checkout
    chmod +x .git/hooks/post-checkout; echo '#' > .git/hooks/plain
    git config core.fsmonitor /tmp/x; git config filter.a.clean /tmp/y; git config user.name z
    git init -q ../led && echo ../elsewhere > ../led/.git/commondir
    git init -q ../harmless && git -C ../harmless remote add o https://o
    """
    await place.ended(await place.start(boxes, "s", script))
    await boxes.ended("s")
    told = [
        (event, detail.removeprefix(f"{place.workspace}/sub/").replace("/.git/", ": "))
        for _, event, detail in place.reports
    ]
    assert told == [
        ("git settings that run something", "led: commondir"),
        ("git settings that run something", "repo: config"),
        ("git hook appeared", "repo: hooks/post-checkout"),
    ]


async def test_what_was_there_before_and_what_is_harmless_is_not_told(place):
    subprocess.run(["git", "init", "-q", "."], cwd=place.workspace, check=True)
    subprocess.run(["git", "config", "core.fsmonitor", "x"], cwd=place.workspace, check=True)
    (place.workspace / ".vscode").mkdir()
    boxes = place.sandboxes()
    await asyncio.sleep(2.1)  # the change times of files count in seconds on some file systems
    script = (
        "touch a; git -c core.fsmonitor= add a; mkdir node_modules; git init -q node_modules/x; read line"
    )
    await place.ended(await place.start(boxes, "s", script))
    await boxes.ended("s")
    assert place.reports == []


async def test_b27_a_new_program_in_a_folder_that_the_base_file_opened_is_told(place):
    (place.home / ".local/bin").mkdir(parents=True)
    (place.home / ".config/oqto").mkdir()
    (place.home / ".config/oqto/sandbox.toml").write_text('allow_write = ["~/.local/bin"]')
    boxes = place.sandboxes()
    script = "echo x > ~/.local/bin/git; chmod +x ~/.local/bin/git; echo y > ~/.local/bin/notes"
    await place.ended(await place.start(boxes, "s", script))
    await boxes.ended("s")
    assert [(event, detail) for _, event, detail in place.reports] == [
        ("program appeared", str(place.home / ".local/bin/git"))
    ]


async def test_a_protected_name_that_changed_during_a_session_is_told(place):
    (place.workspace / ".vscode").mkdir()
    (place.workspace / ".vscode/tasks.json").write_text("{}")
    boxes = place.sandboxes()
    process = await place.start(boxes, "s", "read line")
    (place.workspace / ".vscode/tasks.json").write_text('{"command": "x"}')
    await place.ended(process)
    await boxes.ended("s")
    assert [event for _, event, _ in place.reports] == ["protected name changed"]
