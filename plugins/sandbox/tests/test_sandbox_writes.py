"""Writing what is protected. Each attack has a twin: the harmless thing next to it still works."""

from __future__ import annotations

import os
import subprocess

import pytest

from oqto_platform.errors import Unconfined

pytestmark = pytest.mark.real

OWN_CONTROLS = ("/proc/sys/fs/mqueue/", "/proc/sys/kernel/")
"""Of an ordinary account's sandbox: limits of the namespaces that it has for itself."""


# -- B: writing what is protected --------------------------------------------------------------------


def test_b02_b36_the_policy_cannot_be_replaced(box):
    file = box.home / ".config/oqto/sandbox.toml"
    before = file.read_text()
    done = box.sh(
        "mv ~/.config/oqto ~/.config/o; mv ~/.config ~/c; mkdir -p ~/.config/oqto; echo enabled=false > ~/.config/oqto/sandbox.toml;"
        "truncate -s0 ~/.config/oqto/sandbox.toml; chmod 777 ~/.config/oqto; touch ~/.config/oqto/new; echo twin > mine; cat mine"
    )
    assert done.out == "twin\n"
    script = (
        "import os, sys\nfile = sys.argv[1]\n"
        "for name, rest in (('chown', (-1, -1)), ('chmod', (0o666,)), ('utime', ()), ('setxattr', ('user.x', b'1')), ('remove', ()), ('truncate', (0,))):\n"
        "    try: getattr(os, name)(file, *rest); print('DONE', name)\n    except OSError: pass\n"
    )
    assert box.python(script, str(file)).out == ""
    assert file.read_text() == before
    assert not (box.home / ".config/oqto/new").exists()


def test_b03_parents_of_the_workspace_cannot_be_moved(box):
    assert box.sh("mv ~/projects ~/p && echo MOVED; mkdir d && mv d e && ls -d e").out == "e\n"
    assert box.workspace.is_dir()


def test_b06_the_workspace_policy_cannot_be_replaced(box):
    file = box.write(box.workspace / ".oqto/sandbox.toml", "isolate_network = true\n")
    done = box.sh(
        "echo x > .oqto/sandbox.toml; rm -rf .oqto; mv .oqto o; ln -sfn /tmp .oqto; mkdir -p sub/.oqto && echo twin"
    )
    assert done.out == "twin\n"
    assert file.read_text() == "isolate_network = true\n"


def test_b06_the_folder_for_it_is_made_before_the_agent_could(box):
    assert (
        box.sh(
            "mkdir .oqto && echo MADE; echo enabled=false > .oqto/sandbox.toml && echo WRITTEN; touch twin; ls twin"
        ).out
        == "twin\n"
    )
    assert not list((box.workspace / ".oqto").iterdir())


@pytest.mark.parametrize("target", ["/tmp", "../../..", "/oldroot/etc"])
def test_b08_a_linked_policy_folder_is_refused(box, target):
    (box.workspace / ".oqto").symlink_to(target)
    with pytest.raises(Unconfined, match="symbolic link"):
        box.sh("echo RAN")
    (box.workspace / ".oqto").unlink()
    assert box.sh("echo twin").out == "twin\n"


def test_b11_a_planted_link_makes_nothing_on_the_host(box):
    outside = box.root / "outside"
    outside.mkdir()
    box.own()
    box.sh(f"ln -s /oldroot{outside} .vscode; ln -s {outside} planted")
    with pytest.raises(Unconfined, match=r"\.vscode"):
        box.sh("echo RAN")
    box.sh("echo RAN", restrict='deny_write = ["planted/x"]', policy="protect_defaults = false")
    assert not list(outside.iterdir())


def test_b14_b15_b20_b21_git_runs_nothing_that_the_agent_wrote(box):
    box.repository({"f": "1"})
    for name in (
        ".git/modules/m/HEAD",
        ".git/modules/m/config",
        ".git/modules/m/hooks/x",
        ".gitmodules",
        ".git/info/attributes",
    ):
        box.write(box.workspace / name, "before")
    attack = (
        "echo x > .git/hooks/pre-commit; git config core.fsmonitor /tmp/x; git config core.hooksPath x; git remote add e https://e; echo x > .git/modules/m/hooks/x;"
        "echo x > .git/modules/m/config; echo x > .gitmodules; echo x > .git/info/attributes; mv .git g; mv .git/modules .git/n; echo on"
    )
    assert box.sh(attack).out == "on\n"
    assert not (box.workspace / ".git/hooks/pre-commit").exists()
    config = (box.workspace / ".git/config").read_text()
    assert not any(word in config for word in ("fsmonitor", "hooksPath", "remote"))
    twin = box.sh(
        "git checkout -qb b && echo 2 > f && git commit -qam two && git stash list && git gc -q && git log --oneline | wc -l"
    )
    assert twin.out == "2\n", twin.err


@pytest.mark.parametrize("closed", [".git", ".git/modules", ".git/modules/m"])
def test_b14_b20_closing_a_repository_for_a_session_opens_nothing_in_the_next(box, closed):
    box.repository({"f": "1"})
    (box.workspace / ".git/modules/m/hooks").mkdir(parents=True)
    box.write(box.workspace / ".git/modules/m/HEAD", "ref: refs/heads/main\n")
    box.write(box.workspace / ".git/modules/m/config", "")
    assert box.sh(f"rm .git/modules/m/HEAD; chmod 000 {closed}; echo on").out == "on\n"
    second = box.said(
        f"chmod 755 {closed}; echo x > .git/modules/m/HEAD; git config core.fsmonitor x;"
        "for f in .git/hooks .git/modules/m/hooks; do echo x > $f/post-checkout; done; echo on"
    )
    assert second.startswith("on\n") or f"chmod u+rwx {box.workspace}/{closed}" in second
    (box.workspace / closed).chmod(0o755)
    assert list((box.workspace / ".git").rglob("post-checkout")) == []
    assert "fsmonitor" not in (box.workspace / ".git/config").read_text()
    assert box.sh("git status --short && echo twin").out.endswith("twin\n")


def test_b14_a_linked_worktree_cannot_be_led_to_another_repository(box):
    """Its `.git` is a file; one that named a folder of the agent's would give git settings of the agent's."""
    box.repository({"f": "1"})
    tree = box.home / "projects/tree"
    box.host(f"git worktree add -q {tree}")
    box.workspace = tree
    before = (tree / ".git").read_text()
    done = box.sh(
        "echo gitdir: evil > .git; rm -f .git; mv .git g; ln -sf evil .git; git log --format=%s; echo twin > f; cat f"
    )
    assert done.out == "init\ntwin\n"
    assert (tree / ".git").read_text() == before


def test_b23_settings_that_other_programs_obey_are_read_only(box):
    names = [
        ".mcp.json",
        ".cursor/mcp.json",
        ".codex/config.toml",
        ".gemini/settings.json",
        ".vscode/tasks.json",
        ".idea/x",
        ".envrc",
        ".claude/settings.json",
    ]
    for name in names:
        box.write(box.workspace / name, "before")
    done = box.sh(
        f"for f in {' '.join(names)}; do echo x > $f; mv $f $f.2; rm -f $f; done; echo x > .claude/notes; cat .claude/notes"
    )
    assert done.out == "x\n"
    assert [(box.workspace / name).read_text() for name in names] == ["before"] * len(names)


@pytest.mark.parametrize(
    "path",
    [
        "~/.config/systemd/user/x",
        "~/.config/autostart/a",
        "~/.local/bin/git",
        "~/.cargo/bin/cargo",
        "~/.bashrc",
        "~/.profile",
        "~/new",
    ],
)
def test_b26_b27_nothing_that_runs_later_can_be_planted(box, path):
    done = box.sh(
        f"mkdir -p $(dirname {path}); echo x >> {path} && echo WRITTEN; echo x > ~/.cargo/registry/twin && echo twin"
    )
    assert done.out == "twin\n"


def test_b27_in_the_loosest_profile_start_files_stay(box):
    done = box.sh(
        "echo x >> ~/.bashrc; mv ~/.bashrc ~/b; echo x >> ~/.local/bin/tool; mv ~/.local ~/l; echo x > ~/twin; cat ~/twin; cat ~/.ssh/id_rsa ~/.config/gcloud/creds.json",
        policy='profile = "minimal"',
    )
    assert done.out == "x\n"
    assert (box.home / ".bashrc").read_text() == "# start file\n"
    assert "CANARY" not in done.all


def test_b29_b30_system_and_devices_are_read_only(box):
    done = box.sh(
        "touch /usr/x /etc/x /bin/x /lib/x /x; echo x > /dev/foo; mknod /tmp/d b 8 0; mknod /tmp/c c 1 3; echo x > /proc/sys/kernel/core_pattern; mkfifo /tmp/f && echo x > /dev/null && echo twin"
    )
    assert done.out == "twin\n"


def test_b30_a_device_works_and_keeps_the_mode_that_it_has_on_the_host(box):
    """Each is the host's own, and an agent of root has the number of its owner; its input is one of them here."""
    script = """
import os, stat
def kept(change):
    try: change()
    except OSError as e: return os.strerror(e.errno)
    return "CHANGED"
devices = [f"/dev/{name}" for name in ("full", "null", "random", "tty", "urandom", "zero")]
modes = {device: stat.S_IMODE(os.stat(device).st_mode) for device in devices}
print({kept(lambda: os.chmod(device, mode)) for device, mode in modes.items()}, kept(lambda: os.utime("/dev/null")))
print(kept(lambda: os.fchmod(0, modes["/dev/null"])))
with open("/dev/null", "w") as null, open("/dev/zero", "rb") as zero: print(null.write("twin"), zero.read(2))
"""
    done = box.python(script)
    read_only = "Read-only file system"
    assert done.out == f"{{'{read_only}'}} {read_only}\n{read_only}\n4 b'\\x00\\x00'\n", done.all


def test_b30_the_kernels_controls_belong_to_nobody_inside(box):
    """An agent of root has root's number, which is all that many of these files ask for."""
    script = (
        "find /proc -path '/proc/[0-9]*' -prune -o -type f -writable -print 2>/dev/null | grep -v '^/proc/pressure/';"
        "for f in /proc/sys/kernel/core_pattern /proc/sys/fs/suid_dumpable; do cat $f > $f && echo WRITTEN $f; done;"
        "echo h > /proc/sysrq-trigger && echo SYSRQ; echo twin > /proc/self/comm && cat /proc/self/comm"
    )
    done = box.sh(f"({script}) 2>/dev/null")
    own = [line for line in done.out.splitlines() if line.startswith(OWN_CONTROLS)]
    assert [line for line in done.out.splitlines() if line not in own] == ["cat"], done.out
    assert os.getuid() or own == []


def test_b35_a_read_only_workspace(box):
    assert box.sh("touch x; cat file", restrict="readonly_workspace = true").out == "content"
    assert not (box.workspace / "x").exists()


def test_b38_a_read_only_file_cannot_be_mapped_for_writing(box):
    script = "import mmap,os\nfd=os.open('/etc/passwd',os.O_RDONLY)\ntry: mmap.mmap(fd,0,mmap.MAP_SHARED,mmap.PROT_WRITE)\nexcept PermissionError: print('twin', len(mmap.mmap(fd,0,prot=mmap.PROT_READ))>0)"
    assert box.python(script).out == "twin True\n"


def test_b05_an_editor_of_the_host_does_not_open_the_policy(box):
    file = box.home / ".config/oqto/sandbox.toml"
    script = "echo ready; read line; echo enabled=false > ~/.config/oqto/sandbox.toml; cat ~/.config/oqto/env; echo twin"
    process = box.start("/bin/bash", "-c", script, stdin=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    new = box.write(box.home / ".config/oqto/sandbox.new", "readonly_workspace = true\n")
    new.rename(file)
    out, err = process.communicate(b"go\n", timeout=30)
    assert (out, b"CANARY" in err) == (b"twin\n", False)
    assert file.read_text() == "readonly_workspace = true\n"


def test_b18_a_repository_made_inside_is_the_agents_own(box):
    script = "mkdir sub && cd sub && git init -q && echo x > .git/hooks/post-checkout && git config core.fsmonitor x; ls .git/hooks/post-checkout"
    assert box.sh(script).out == ".git/hooks/post-checkout\n"


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_b32_what_was_checked_is_what_is_bound(box, kind):
    """Swapped between the check and the mount: the sandbox shows the folder that was checked, or does not start."""
    cache = box.home / "shared/cache"
    box.write(cache / "file", "checked")
    box.write(box.root / "secret/file", "CANARY-swapped")
    policy = 'extra_rw_bind = ["~/shared/cache"]'
    confined = box.confined("/bin/bash", "-c", "cat ~/shared/cache/file", policy=policy)
    cache.rename(box.home / "shared/old")
    if kind == "link":
        cache.symlink_to(box.root / "secret")
    else:
        (box.root / "secret").rename(cache)
    done = box.finish(box.spawn(confined))
    assert "CANARY" not in done.all
    assert done.out == "checked" if kind == "folder" else done.code != 0 and done.out == ""


def test_b33_a_mount_that_the_host_makes_later_cannot_be_written(box_beside_root):
    box = box_beside_root
    folder = box.home / "documents"
    (folder / "media").mkdir()
    process = box.start(
        "/bin/bash",
        "-c",
        "echo ready; read line; echo x > ~/documents/media/f && echo WRITTEN; cat ~/documents/letter",
        stdin=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=777", "x", folder / "media"], check=True)
    try:
        out, _ = process.communicate(b"go\n", timeout=30)
    finally:
        subprocess.run(["umount", folder / "media"], check=True)
    assert out == b"letter"
