"""Safety does not break work: the tools of every day, inside the development profile, without a network."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

OFFLINE = "isolate_network = true"
NODE = Path(__file__).parents[3] / ".tools/node"


def works(done):
    assert done.code == 0, done.all
    return done.out.splitlines()


def test_f18_git_clones_commits_branches_stashes_and_rebases(box):
    box.write(box.home / "documents/origin/f", "1\n")
    origin = box.home / "documents/origin"
    box.host(
        "git init -q -b main . && git config user.email a@b && git config user.name a && git add -A && git commit -qm one",
        cwd=origin,
    )
    script = (
        f"set -e; git clone -q file://{origin} copy; cd copy; git config user.email a@b; git config user.name a;"
        "git checkout -q -b side; echo 2 >> f; git stash -q; git stash pop -q; git commit -qam two;"
        "git checkout -q main; echo x > g; git add -A; git commit -qm three; git checkout -q side; git rebase -q main;"
        "git gc -q; git worktree add -q ../tree; git log --format=%s; git status --porcelain; git fsck"
    )
    assert works(box.sh(script, policy=OFFLINE))[:3] == ["two", "three", "one"]


def test_f18_a_repository_that_is_the_workspace(box):
    box.repository({"f": "1\n"})
    script = (
        "set -e; echo 2 > f; git commit -qam two; git checkout -q -b side; git stash list; git merge -q side;"
        "git tag v1; git gc -q; git mv f g; git commit -qm three; git status --porcelain; git log --format=%s"
    )
    assert works(box.sh(script, policy=OFFLINE)) == ["three", "two", "init"]


def test_f18_a_virtual_environment_with_a_package(box):
    wheel(box, "hello-1.0-py3-none-any.whl")
    script = (
        "set -e; /usr/bin/python3 -m venv .venv; .venv/bin/pip install -q --no-index --find-links . hello;"
        ".venv/bin/python -c 'import hello; print(hello.WORD)'; .venv/bin/hello"
    )
    if box.run("/usr/bin/python3", "-c", "import venv, ensurepip").code:
        pytest.skip("this system's Python has no venv")
    assert works(box.sh(script, policy=OFFLINE, timeout=120)) == ["greetings", "greetings"]


def wheel(box, name):
    path = box.write(box.workspace / name)
    about = "hello-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("hello.py", "WORD = 'greetings'\ndef main(): print(WORD)\n")
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{about}/entry_points.txt", "[console_scripts]\nhello = hello:main\n")
        file.writestr(f"{about}/RECORD", "")
    box.own()


def test_f18_npm_installs_and_tests(box):
    if not (NODE / "bin/npm").exists():
        pytest.skip("node is not installed in .tools")
    box.write(box.workspace / "dep/package.json", '{"name": "dep", "version": "1.0.0", "main": "index.js"}')
    box.write(box.workspace / "dep/index.js", "module.exports = () => 42")
    box.write(
        box.workspace / "package.json",
        '{"name": "app", "version": "1.0.0", "scripts": {"test": "node test.js"}}',
    )
    box.write(
        box.workspace / "test.js", "require('assert').equal(require('dep')(), 42); console.log('passed')"
    )
    script = "npm install --no-audit --no-fund ./dep && npm test"
    done = box.sh(
        script, policy=OFFLINE, readable=(str(NODE),), env={"PATH": f"{NODE}/bin:/usr/bin:/bin"}, timeout=120
    )
    assert works(done)[-1] == "passed"
    assert (box.home / ".npm").is_dir()


def test_f18_make_and_a_compiler(box):
    if not shutil.which("make", path="/usr/bin") or not shutil.which("cc", path="/usr/bin"):
        pytest.skip("make or cc is not installed")
    box.write(
        box.workspace / "hello.c", '#include <stdio.h>\nint main(void) { puts("compiled"); return 0; }\n'
    )
    box.write(box.workspace / "Makefile", "all: hello\n\t./hello\nhello: hello.c\n\tcc -o hello hello.c\n")
    assert works(box.sh("make -s -j2", policy=OFFLINE)) == ["compiled"]


@pytest.fixture(scope="module")
def toolchain():
    """Rust where every account can read it: the one that is installed may lie in somebody's home."""
    if shutil.which("cargo", path="/usr/bin"):
        yield "/usr"
        return
    if not shutil.which("rustc") or not shutil.which("cc", path="/usr/bin"):
        pytest.skip("Rust or cc is not installed")
    asked = ["rustc", "--print", "sysroot"]
    installed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    folder = Path(tempfile.mkdtemp(prefix="oqto-rust-", dir=Path(tempfile.gettempdir()).resolve()))
    folder.chmod(0o755)
    try:
        for part in ("bin", "lib"):
            copy = ["cp", "-a", "--reflink=auto", f"{installed}/{part}", str(folder)]
            if subprocess.run([copy[0], "-al", *copy[3:]], capture_output=True, check=False).returncode:
                subprocess.run(copy, check=True)
        yield str(folder)
    finally:
        shutil.rmtree(folder)


def test_f18_cargo_builds_and_tests(box, toolchain):
    manifest = '[package]\nname = "{}"\nversion = "1.0.0"\nedition = "2021"\n'
    box.write(
        box.workspace / "Cargo.toml", manifest.format("app") + '[dependencies]\ndep = { path = "dep" }\n'
    )
    box.write(box.workspace / "src/main.rs", 'fn main() { println!("{}", dep::word()); }\n')
    box.write(box.workspace / "dep/Cargo.toml", manifest.format("dep"))
    box.write(
        box.workspace / "dep/src/lib.rs",
        'pub fn word() -> &\'static str { "built" }\n#[test]\nfn it() { assert_eq!(word(), "built"); }\n',
    )
    done = box.sh(
        "cargo build -q --offline && ./target/debug/app && cargo test -q --offline -p dep",
        policy=OFFLINE, readable=(toolchain,), env={"PATH": f"{toolchain}/bin:/usr/bin:/bin"}, timeout=300,
    )  # fmt: skip
    assert works(done)[0] == "built"
    assert "1 passed" in done.out


def test_f18_pytest(box):
    box.write(box.workspace / "test_it.py", "def test_it(tmp_path): (tmp_path / 'x').write_text('y')\n")
    packages = str(Path(pytest.__file__).parents[1])
    script = (
        f"import sys; sys.path.insert(0, {packages!r}); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    )
    done = box.run(
        "/usr/bin/python3", "-c", script, "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", ".", "test_it.py",
        policy=OFFLINE, readable=(packages,), env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert "1 passed" in works(done)[-1]


def test_f18_what_programs_ask_of_the_kernel(box):
    script = (
        "set -e; mkfifo p; (echo through > p &) ; cat p; mkdir d; echo x > d/f; tar cf t.tar d; tar xf t.tar -C /tmp; cat /tmp/d/f;"
        "ln d/f d/g; ln -s f d/h; cp -a d e; touch -d yesterday e/f; chmod 700 e; times > /dev/null; echo done"
    )
    assert works(box.sh(script, policy=OFFLINE)) == ["through", "x", "done"]
    python = (
        "import os, multiprocessing as m, tempfile, socket, sqlite3, mmap, subprocess, resource\n"
        "if __name__ == '__main__':\n"
        "    with m.Pool(2) as pool: print(pool.map(abs, [-1, -2]))\n"
        "    with m.Manager() as manager: print(list(manager.list([1])))\n"
        "    os.write(os.memfd_create('x'), b'x'); resource.getrusage(0)\n"
        "    base = sqlite3.connect('base.db'); base.execute('pragma journal_mode=wal'); base.execute('create table t(x)'); base.close()\n"
        "    print(subprocess.run(['id', '-un'], capture_output=True, check=False).returncode in (0, 1))\n"
    )
    box.write(box.workspace / "script.py", python)
    assert works(box.run("/usr/bin/python3", "script.py", policy=OFFLINE)) == ["[1, 2]", "[1]", "True"]
