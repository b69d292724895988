"""Reading what is denied. Each attack has a twin: the harmless thing next to it still works."""

# ruff: noqa: PTH208 - what an agent does, it does with plain paths

from __future__ import annotations

import os
import subprocess

import pytest

from oqto_platform.errors import Unconfined

pytestmark = pytest.mark.real


def started(box, script):
    """A sandbox that runs already, and goes on with `script` when it hears a line."""
    process = box.start("/bin/bash", "-c", f"echo ready; read line; {script}", stdin=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    return process


# -- A: reading what is denied -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        ".ssh/id_rsa",
        ".aws/credentials",
        ".netrc",
        ".config/gcloud/creds.json",
        ".gnupg/key",
        ".config/oqto/env",
    ],
)
def test_a01_a04_secrets_of_the_home_cannot_be_read(box, name):
    done = box.sh(
        f"cat ~/{name}; dd if=~/{name}; python3 -c 'print(open(\"'$HOME/{name}'\").read())'; cat /proc/self/root$HOME/{name} /proc/1/root$HOME/{name}; echo went on"
    )
    assert "CANARY" not in done.all
    assert "went on" in done.out
    assert box.sh("cat ~/.config/app/settings ~/documents/letter").out == "harmlessletter"


def test_a02_a_mask_is_not_a_writable_folder(box):
    done = box.sh(
        "ls ~/.ssh && echo LISTED; echo x > ~/.ssh/f && echo WRITTEN; echo x > ~/.config/gcloud/f && echo WRITTEN; ls ~/.config"
    )
    assert "LISTED" not in done.out
    assert "WRITTEN" not in done.out
    assert "app" in done.out


def test_a07_a_denied_folder_that_the_host_makes_later_stays_absent(box):
    process = started(box, "cat ~/.kube/config; cat ~/documents/letter")
    box.write(box.home / ".kube/config", "CANARY-kube")
    out, _ = process.communicate(b"go\n", timeout=30)
    assert b"CANARY" not in out
    assert out == b"letter"


def test_a08_a_denied_file_that_the_host_replaces_stays_hidden(box):
    process = started(box, "cat ~/.netrc; echo on")
    box.write(box.home / ".n", "CANARY-new")
    (box.home / ".n").rename(box.home / ".netrc")
    out, _ = process.communicate(b"go\n", timeout=30)
    assert out == b"on\n"


def test_a10_renaming_a_parent_does_not_move_a_secret_out(box):
    first = box.sh("mv ~/.config ~/cfg; mv ~/.config/gcloud ~/.config/g; echo on")
    second = box.sh("cat ~/cfg/gcloud/creds.json ~/.config/g/creds.json; echo on")
    assert (first.out, second.out) == ("on\n", "on\n")
    assert (box.home / ".config/gcloud/creds.json").exists()


def test_a11_a_linked_secret_is_hidden_under_both_names(box):
    box.write(box.home / "dotfiles/kube/config", "CANARY-kube")
    (box.home / ".kube").symlink_to("dotfiles/kube")
    box.write(box.home / "dotfiles/vimrc", "vim")
    done = box.sh("cat ~/.kube/config ~/dotfiles/kube/config; cat ~/dotfiles/vimrc")
    assert "CANARY" not in done.all
    assert done.out == "vim"


def test_a13_a_dangling_link_of_a_denied_name_stays_closed(box):
    (box.home / ".kube").symlink_to(box.home / "later")
    process = started(box, "cat ~/.kube/id ~/later/id; echo on")
    box.write(box.home / "later/id", "CANARY-later")
    out, _ = process.communicate(b"go\n", timeout=30)
    assert out == b"on\n"


def test_a16_a17_a_denied_file_of_the_workspace_is_neither_read_nor_committed_away(box):
    box.repository({".env": "CANARY-env", "other": "1"})
    script = "cat .env; cp .env /tmp/x; git diff .env; echo 2 > other; git stash -q; git stash pop -q; echo 2 > other; git add -A; git commit -qam x; git log --oneline | wc -l"
    done = box.sh(script, restrict='deny_read = [".env"]', policy="allow_git_config = false")
    assert "CANARY" not in done.all
    shown = subprocess.run(
        ["git", "-c", "safe.directory=*", "show", "HEAD:.env"],
        cwd=box.workspace,
        capture_output=True,
        text=True,
    )
    assert shown.stdout == "CANARY-env"
    assert box.sh("cat other", restrict='deny_read = [".env"]').out == "2\n"


def test_a16_globs_hide_what_they_match(box):
    for name in ("a/one.pem", "b/c/two.pem", "b/c/three.txt"):
        box.write(box.workspace / name, f"CANARY-{name}" if name.endswith("pem") else "text")
    done = box.sh("cat a/one.pem b/c/two.pem; cat b/c/three.txt", restrict='deny_read = ["**/*.pem"]')
    assert "CANARY" not in done.all
    assert done.out == "text"


def test_a16_a_glob_matches_at_every_depth_or_nothing_starts(box):
    deep = "/".join("abcdefghijkl")
    box.write(box.workspace / deep / ".env", "CANARY-deep")
    box.write(box.workspace / deep / "other", "text")
    restrict = 'deny_read = ["**/.env"]'
    assert box.sh(f"cat {deep}/.env; cat {deep}/other", restrict=restrict).out == "text"
    box.write(box.workspace / "/".join("x" * 80) / ".env", "CANARY-deeper")
    with pytest.raises(Unconfined, match="folders in each other"):
        box.sh("true", restrict=restrict)


@pytest.mark.parametrize("entry", ["**/.env", "sub/.env"])
def test_a19_closing_the_folder_of_a_denied_file_shows_it_in_no_session(box, entry):
    """Its plan cannot look into a folder without rights, and the agent could give them back."""
    box.write(box.workspace / "sub/.env", "CANARY-env")
    restrict = f'deny_read = ["{entry}"]'
    assert box.sh("chmod 000 sub; stat -c %a sub", restrict=restrict).out == "0\n"
    second = box.said("chmod 755 sub; cat sub/.env; echo on", restrict=restrict)
    assert second.startswith("on\n") or f"chmod u+rwx {box.workspace}/sub" in second
    assert "CANARY" not in second
    (box.workspace / "sub").chmod(0o755)
    assert box.sh("cat sub/.env; echo on", restrict=restrict).out == "on\n"


def test_a19_moving_the_folder_of_a_denied_file_shows_it_in_no_session(box):
    box.write(box.workspace / "sub/.env", "CANARY-env")
    restrict = 'deny_read = ["sub/.env"]'
    first = box.sh(
        "mv sub sub2; cat sub2/.env sub/.env; mkdir other; mv other other2; ls -d other2", restrict=restrict
    )
    second = box.sh("cat sub2/.env sub/.env; echo on", restrict=restrict)
    assert "CANARY" not in first.all + second.all
    assert (first.out, second.out) == ("other2\n", "on\n")


def test_a20_m25_write_protection_below_a_hidden_folder_does_not_show_it(box):
    box.write(box.home / "x/y", "CANARY-y")
    done = box.sh(
        "cat ~/x/y; ls ~/x; cat ~/documents/letter", policy='deny_read = ["~/x"]\ndeny_write = ["~/x/y"]'
    )
    assert "CANARY" not in done.all
    assert done.out == "letter"


def test_a23_secrets_of_the_machine_are_hidden_even_from_root(box):
    done = box.sh(
        "cat /etc/oqto/* /etc/octo/* /etc/shadow /etc/gshadow /etc/ssh/ssh_host_*_key /etc/sudoers; cat /etc/hostname > /dev/null && echo twin"
    )
    assert done.out == "twin\n"


def test_a25_a26_the_environment_of_the_launcher_is_not_inside(box, monkeypatch):
    monkeypatch.setenv("RUNNER_SECRET", "CANARY-runner")
    script = "env; ls -l /proc/*/fd; cat /proc/*/environ | tr '\\0' '\\n'; echo $GIVEN"
    done = box.sh(script, env={"GIVEN": "virtual-key"})
    assert "CANARY" not in done.all
    assert "virtual-key" in done.out


def test_the_agents_environment_is_in_no_command_line(box, command_line):
    process = box.start(
        "/bin/bash", "-c", "echo ready; read line", stdin=subprocess.PIPE, env={"KEY": "CANARY-virtual-key"}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    lines = [command_line(pid) for pid in os.listdir("/proc") if pid.isdigit()]
    process.communicate(b"\n", timeout=30)
    assert any("--args" in line for line in lines)
    assert not any("CANARY-virtual-key" in line for line in lines if "pytest" not in line)


def test_a28_kernel_keys_cannot_be_reached(box):
    done = box.python(
        "import ctypes; l = ctypes.CDLL(None, use_errno=True)\nfor n in (248, 249, 250): print(l.syscall(n, 0, -3, 0), ctypes.get_errno())"
    )
    assert done.out == "-1 1\n" * 3


def test_a29_shared_memory_of_the_host_is_not_shared(box):
    made = subprocess.run(["ipcmk", "-M", "4096", "-p", "0666"], capture_output=True, text=True, check=True)
    number = made.stdout.split()[-1]
    try:
        done = box.sh("tail -n +2 /proc/sysvipc/shm; ipcmk -M 4096 > /dev/null && echo twin")
        assert done.out == "twin\n"
    finally:
        subprocess.run(["ipcrm", "-m", number], check=True)


def test_a31_no_core_dumps(box):
    """The limit is one byte: with none at all the kernel would still hand the memory to a handler of the host."""
    done = box.sh("ulimit -Hc; ulimit -c 0; ulimit -c unlimited; sh -c 'kill -SEGV $$'; echo $?")
    assert done.out == "0\n139\n"
    script = "import resource as r\nr.setrlimit(r.RLIMIT_CORE, (0, 0)); print(r.getrlimit(r.RLIMIT_CORE))"
    assert box.python(script).out == "(1, 1)\n"
    assert box.sh("ulimit -n 99; ulimit -n; ls core* 2>/dev/null; echo twin").out == "99\ntwin\n"


def test_a22_sessions_of_other_workspaces_cannot_be_read(box):
    for agent in (".pi/agent/sessions", ".claude/projects", ".codex/sessions"):
        box.write(box.home / agent / "--other--/1.jsonl", "CANARY-transcript")
    box.write(box.home / ".pi/agent/settings.json", "settings")
    done = box.sh(
        "cat ~/.pi/agent/sessions/*/* ~/.claude/projects/*/* ~/.codex/sessions/*/*; ls ~/.pi/agent/sessions; cat ~/.pi/agent/settings.json"
    )
    assert "CANARY" not in done.all
    assert done.out == "settings"


def test_a32_the_mount_table_names_paths_but_no_values(box):
    done = box.sh(
        "cat /proc/self/mountinfo /proc/1/cmdline /proc/1/mounts | tr '\\0' '\\n'; echo on",
        env={"KEY": "CANARY-value"},
    )
    assert "CANARY" not in done.all
    assert done.out.endswith("on\n")
