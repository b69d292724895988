"""What an agent tries, in a real sandbox. Each attack has a twin: the harmless thing next to it still works."""

# ruff: noqa: PTH110, PTH118, PTH123, PTH208 - what an agent does, it does with plain paths

from __future__ import annotations

import os
import subprocess
import time

import pytest

from oqto_platform.errors import Unconfined
from oqto_platform.types import Relay

pytestmark = pytest.mark.real


# -- A: reading what is denied -------------------------------------------------------------------


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
        f"cat ~/{name}; dd if=~/{name}; cat /proc/self/root$HOME/{name} /proc/1/root$HOME/{name}; echo went on"
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
    process = box.start(
        "/bin/bash", "-c", "read line; cat ~/.kube/config; cat ~/documents/letter", stdin=subprocess.PIPE
    )
    box.write(box.home / ".kube/config", "CANARY-kube")
    out, _ = process.communicate(b"go\n", timeout=30)
    assert b"CANARY" not in out
    assert out == b"letter"


def test_a08_a_denied_file_that_the_host_replaces_stays_hidden(box):
    process = box.start("/bin/bash", "-c", "read line; cat ~/.netrc; echo on", stdin=subprocess.PIPE)
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
    process = box.start(
        "/bin/bash", "-c", "read line; cat ~/.kube/id ~/later/id; echo on", stdin=subprocess.PIPE
    )
    box.write(box.home / "later/id", "CANARY-later")
    out, _ = process.communicate(b"go\n", timeout=30)
    assert out == b"on\n"


def test_a16_a17_a_denied_file_of_the_workspace_is_neither_read_nor_committed_away(box):
    _repository(box, {".env": "CANARY-env", "other": "1"})
    script = "cat .env; cp .env /tmp/x; git diff .env; echo 2 > other; git add -A; git commit -qam x; git log --oneline | wc -l"
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


def test_the_agents_environment_is_in_no_command_line(box):
    process = box.start(
        "/bin/bash", "-c", "echo ready; read line", stdin=subprocess.PIPE, env={"KEY": "CANARY-virtual-key"}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    lines = [_read(f"/proc/{pid}/cmdline") for pid in os.listdir("/proc") if pid.isdigit()]
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
    done = box.sh("ulimit -Hc; sh -c 'kill -SEGV $$'; echo $?")
    assert done.out == "0\n139\n"


# -- B: writing what is protected ----------------------------------------------------------------


def test_b02_b36_the_policy_cannot_be_replaced(box):
    file = box.home / ".config/oqto/sandbox.toml"
    before = file.read_text()
    done = box.sh(
        "mv ~/.config/oqto ~/.config/o; mv ~/.config ~/c; mkdir -p ~/.config/oqto; echo enabled=false > ~/.config/oqto/sandbox.toml;"
        "truncate -s0 ~/.config/oqto/sandbox.toml; chmod 777 ~/.config/oqto; touch ~/.config/oqto/new; echo on"
    )
    assert done.out == "on\n"
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
    _repository(box, {"f": "1"})
    for name in (
        ".git/modules/m/HEAD",
        ".git/modules/m/config",
        ".git/modules/m/hooks/x",
        ".gitmodules",
        ".git/info/attributes",
    ):
        box.write(box.workspace / name, "before")
    attack = (
        "echo x > .git/hooks/pre-commit; git config core.fsmonitor /tmp/x; git config core.hooksPath x; echo x > .git/modules/m/hooks/x;"
        "echo x > .git/modules/m/config; echo x > .gitmodules; echo x > .git/info/attributes; mv .git g; mv .git/modules .git/n; echo on"
    )
    assert box.sh(attack).out == "on\n"
    assert not (box.workspace / ".git/hooks/pre-commit").exists()
    assert "fsmonitor" not in (box.workspace / ".git/config").read_text()
    twin = box.sh(
        "git checkout -qb b && echo 2 > f && git commit -qam two && git stash list && git gc -q && git log --oneline | wc -l"
    )
    assert twin.out == "2\n", twin.err


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
    assert not os.path.exists("/usr/x")


def test_b35_a_read_only_workspace(box):
    assert box.sh("touch x; cat file", restrict="readonly_workspace = true").out == "content"
    assert not (box.workspace / "x").exists()


def test_b38_a_read_only_file_cannot_be_mapped_for_writing(box):
    script = "import mmap,os\nfd=os.open('/etc/passwd',os.O_RDONLY)\ntry: mmap.mmap(fd,0,mmap.MAP_SHARED,mmap.PROT_WRITE)\nexcept PermissionError: print('twin', len(mmap.mmap(fd,0,prot=mmap.PROT_READ))>0)"
    assert box.python(script).out == "twin True\n"


# -- C: configuration at work --------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["with space", "quote\"s'", "-dash", "colon:x", "ünï", "back\\slash", "a" * 200]
)
def test_c15_workspaces_with_difficult_names(box, name):
    box.workspace = box.home / name
    box.write(box.workspace / "file", "content")
    assert box.sh("cat file; echo new > made; mkdir .oqto && echo MADE").out == "content"
    assert (box.workspace / "made").read_text() == "new\n"


def test_c15_a_line_break_in_the_name_is_refused(box):
    from oqto_platform.errors import Invalid

    box.workspace = box.home / "a\nb"
    box.write(box.workspace / "file")
    with pytest.raises(Invalid, match="line break"):
        box.sh("echo RAN")


def test_c17_too_many_denials_are_refused_before_bubblewrap_counts(box):
    for number in range(1100):
        (box.workspace / f"f{number}").write_text("")
    with pytest.raises(Unconfined, match="limit"):
        box.sh("echo RAN", restrict='deny_read = ["f*"]')


def test_c20_no_variable_weakens_anything(box):
    switches = {
        "OQTO_SANDBOX_SHIM_MODE": "1",
        "OQTO_NO_SANDBOX": "1",
        "OQTO_SANDBOX_PROFILE": "minimal",
        "LD_PRELOAD": "/x.so",
        "BASH_ENV": "/tmp/x",
        "KEEP": "1",
    }
    done = box.sh("env | grep -E 'SANDBOX|PRELOAD|BASH_ENV'; cat ~/.ssh/id_rsa; echo $KEEP", env=switches)
    assert done.out == "1\n"


def test_the_home_as_workspace_is_refused(box):
    box.workspace = box.home
    with pytest.raises(Unconfined, match="home directory itself"):
        box.sh("echo RAN")


# -- D: processes and privileges -----------------------------------------------------------------


def test_d01_d02_only_its_own_processes(box):
    done = box.sh(
        f"ls /proc | grep -c '^[0-9]'; kill -STOP {os.getpid()}; kill -9 {os.getpid()}; sleep 99 & kill $! && echo twin"
    )
    count, twin = done.out.split()
    assert int(count) < 10
    assert twin == "twin"


def test_d04_d05_nothing_outlives_the_session(box):
    marker = f"99{os.getpid()}{time.monotonic_ns() % 10_000}"
    assert box.sh(f"setsid sleep {marker} & (sleep {marker} &); disown; echo twin").out == "twin\n"
    assert not _running(marker)
    process = box.start("/bin/bash", "-c", f"echo ready; setsid sleep {marker} & sleep {marker}")
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    process.communicate(timeout=10)
    deadline = time.monotonic() + 10
    while _running(marker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _running(marker)


def test_d07_d08_no_namespaces_of_its_own(box):
    done = box.sh(
        "unshare -U true && echo IN; unshare -Urm true && echo IN; bwrap --ro-bind / / true && echo IN; echo twin"
    )
    assert done.out == "twin\n"
    script = "import ctypes; l = ctypes.CDLL(None, use_errno=True)\nfor call in ((272, 0x10000000), (56, 0x10000011, 0, 0, 0, 0), (435, 0, 0)): print(l.syscall(*call), ctypes.get_errno())"
    assert box.python(script).out == "-1 1\n-1 1\n-1 38\n"


def test_d10_no_capabilities_and_no_new_ones(box):
    done = box.sh(
        "grep -E '^(Cap(Eff|Prm|Bnd|Inh|Amb)|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\\t\\n' ' '; id -u"
    )
    assert done.out.count("0000000000000000") == 5
    assert "NoNewPrivs: 1 Seccomp: 2" in done.out
    assert not done.out.endswith(" 0\n")


def test_d11_setuid_programs_give_nothing(box):
    assert (
        box.sh(
            "su -c id </dev/null; sudo -n id; mount -t tmpfs x /mnt; umount .oqto; umount ~/.ssh; id -un > /dev/null; echo twin"
        ).out
        == "twin\n"
    )


def test_d13_d14_the_init_process_is_out_of_reach(box):
    script = "import ctypes; l = ctypes.CDLL(None, use_errno=True)\nfor n in (101, 310, 311, 312, 438): print(l.syscall(n, 16, 1, 0, 0), ctypes.get_errno())\ntry: open('/proc/1/mem', 'r+b'); print('OPEN')\nexcept OSError: print('twin')"
    assert box.python(script).out == "-1 1\n" * 5 + "twin\n"
    assert box.sh("kill -STOP 1; kill -9 1; echo twin").out == "twin\n"


def test_d16_only_three_descriptors(box):
    assert (
        box.sh(
            "ls /proc/self/fd | wc -l; python3 -c \"import os; print(sorted(f for f in range(3, 200) if os.path.exists(f'/proc/self/fd/{f}'))[1:])\""
        ).out
        == "4\n[]\n"
    )


@pytest.mark.parametrize(
    ("number", "arguments"), [(16, "0, 0x5412, b'x'"), (16, "0, 0x100005412, b'x'"), (16, "0, 0x541C, b'x'")]
)
def test_d22_d23_typing_into_the_terminal(box, number, arguments):
    script = f"import ctypes; l = ctypes.CDLL(None, use_errno=True); l.syscall.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_ulong, ctypes.c_char_p]; print(l.syscall({number}, {arguments}), ctypes.get_errno())"
    assert box.python(script).out == "-1 1\n"


def test_d28_limits_cannot_be_raised(box):
    done = box.sh(
        "ulimit -Hn; ulimit -n 999999; ulimit -c unlimited; ulimit -Hc; echo twin",
        policy="[limits]\nopen_files = 512",
    )
    assert done.out == "512\n0\ntwin\n"


def test_d29_the_wall_clock_ends_a_session_and_says_so(box):
    done = box.sh("echo start; exec sleep 60", policy="[limits]\nwall_seconds = 1")
    assert done.out == "start\n"
    assert done.code == 143
    assert "wall clock limit 1 s" in done.err


def test_d31_d32_other_ways_into_the_kernel(box):
    script = "import ctypes; l = ctypes.CDLL(None, use_errno=True)\nfor n in (425, 426, 427, 0x40000000 + 39, 468, 500): print(l.syscall(n, 1, 0), ctypes.get_errno())\nprint(l.syscall(39) > 0)"
    assert box.python(script).out == "-1 38\n" * 6 + "True\n"


# -- E: network and sockets ----------------------------------------------------------------------


def test_e02_e03_isolated_has_a_loopback_of_its_own_and_nothing_else(box):
    import socket

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


@pytest.mark.parametrize("family", [1, 1 + 2**32])
def test_e06_e08_e09_no_unix_sockets_in_strict(box, family):
    path = box.workspace / "s.sock"
    import socket

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
    import socket

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


# -- relays --------------------------------------------------------------------------------------


def test_a_relay_carries_many_megabytes_both_ways_and_nothing_else_is_reachable(box):
    import socket
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


# -- how a process behaves -----------------------------------------------------------------------


def test_streams_and_exit_codes_pass_through(box):
    process = box.start("/bin/bash", "-c", "cat; echo problem >&2; exit 7", stdin=subprocess.PIPE)
    out, err = process.communicate(b"line one\nline two\n", timeout=30)
    assert (out, err, process.returncode) == (b"line one\nline two\n", b"problem\n", 7)
    assert box.sh("kill -9 $$").code == 137
    assert box.run("/nonexistent/program").code == 127
    assert box.run("/etc/hostname").code == 126


def test_the_group_signal_reaches_the_agent_and_its_answer_comes_back(box):
    import signal

    process = box.start(
        "/bin/bash", "-c", "trap 'echo flushed; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    os.killpg(process.pid, signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert (out, process.returncode) == (b"flushed\n", 5)


def test_what_the_platform_needs_is_visible_wherever_it_lies(box):
    tool, state = box.write(box.home / ".ssh/agent/tool", "tool"), box.home / ".config/oqto/state"
    state.mkdir()
    box.write(box.root / "checkout/lib/module", "module")
    box.write(box.root / "checkout/secret", "CANARY-checkout")
    script = f"cat {tool} {box.root}/checkout/lib/module; echo x > {state}/f; echo x > {tool}; cat {box.root}/checkout/secret ~/.ssh/id_rsa; ls ~/.ssh; true"
    done = box.sh(script, readable=(str(tool.parent), str(box.root / "checkout/lib")), writable=(str(state),))
    assert done.out.startswith("toolmodule")
    assert "CANARY" not in done.all
    assert "id_rsa" not in done.out
    assert (state / "f").read_text() == "x\n"
    assert tool.read_text() == "tool"


# -- F: failing closed ---------------------------------------------------------------------------


def test_f05_a_mount_that_is_not_where_the_plan_says_stops_the_start(box):
    from msgspec.structs import replace

    cage = box.cage("/bin/echo", "RAN")
    from oqto_plugin_sandbox.plan.model import Bind

    # The last step of a race: a folder was replaced by a link after every check, and bubblewrap follows it.
    box.write(box.workspace / "real/file")
    (box.workspace / "link").symlink_to("real")
    planted = Bind(dest=f"{box.workspace}/link/file", source=str(box.workspace / "file"))
    broken = replace(cage, plan=replace(cage.plan, ops=(*cage.plan.ops, planted)))
    process = box.start(cage=broken)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (125, b"")
    assert b"self-check: nothing is mounted at" in err


def test_f08_no_litter(box):
    _repository(box, {"f": "1"})
    before = _tree(box.root)
    box.sh("true")
    assert _tree(box.root) - before <= {
        "home/projects/ws/.oqto",
        "home/.npm",
        *(
            f"home/.cache{n}"
            for n in ("", "/uv", "/pip", "/go-build", "/node", "/pnpm", "/yarn", "/pre-commit")
        ),
        "home/.cargo/git",
    }
    assert (
        subprocess.run(
            ["git", "-c", "safe.directory=*", "status", "--porcelain"],
            cwd=box.workspace,
            capture_output=True,
            check=True,
        ).stdout
        == b""
    )


# -- tools of the trade --------------------------------------------------------------------------


def _repository(box, files):
    for name, text in files.items():
        box.write(box.workspace / name, text)
    commands = "git init -q . && git config user.email a@b && git config user.name a && git add -A && git commit -qm init"
    box.own()
    who = {"user": box.uid, "group": box.uid, "extra_groups": []} if os.getuid() == 0 else {}
    subprocess.run(
        commands,
        shell=True,
        cwd=box.workspace,
        check=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(box.root)},
        **who,
    )


def _running(marker):
    return any(
        marker in _read(f"/proc/{pid}/cmdline")
        for pid in os.listdir("/proc")
        if pid.isdigit() and int(pid) != os.getpid()
    )


def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _tree(root):
    return {
        os.path.relpath(os.path.join(folder, name), root)
        for folder, names, files in os.walk(root)
        if ".git" not in folder
        for name in [*names, *files]
    }
