"""After a whole session on a real server: no secret in logs, audit log, arguments or files that others can read."""

from __future__ import annotations

import asyncio
import re
import stat
from pathlib import Path

import httpx
import pytest

from oqto_platform.testing.llm import ScriptedProvider
from oqto_platform.testing.mux import mux_client
from oqto_platform.testing.stack import NAME, PASSWORD, Stack

pytestmark = pytest.mark.real
WORDS = "the quick brown CANARY-of-a-prompt"
PROVIDER_KEY = "sk-CANARY-of-a-provider-0123456789"
WRONG_PASSWORD = "CANARY-of-a-mistyped-password"
BAD_TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOiJDQU5BUlkifQ.c2lnbmF0dXJlLW9mLWEtY2FuYXJ5"


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    env = {"OQTO_LOG": "debug"}  # who looks for a fault must not find a key
    with (
        Stack(tmp_path_factory.mktemp("secrets"), plugins=("sandbox", "eavs"), env=env) as stack,
        ScriptedProvider(require_key=PROVIDER_KEY, models=("m1",)) as provider,
    ):
        stack.setup = stack.setup_token()
        stack.set_up()
        stack.cookies = [stack.client.cookies["oqto"]]
        stack.sign_in()
        stack.cookies.append(stack.client.cookies["oqto"])
        misuse(stack)
        add_provider(stack, provider.url)
        try:
            session = stack.start_session(harness="echo")
        except RuntimeError as exc:
            if "sandbox" in str(exc).lower():
                pytest.skip(f"no sandbox on this machine: {exc}")
            raise
        stack.virtual_key = virtual_key(stack.workspace)
        stack.arguments = command_lines()
        asyncio.run(talk(stack, session["id"]))
        call_the_proxy(stack)
        stack.arguments += command_lines()
        stack.client.post(f"/api/sessions/{session['id']}/stop").raise_for_status()
        yield stack


def misuse(stack) -> None:
    """What people and programs do wrong ends in logs: wrong passwords, old cookies, keys in the wrong place."""
    wrong = {"name": NAME, "password": WRONG_PASSWORD}
    assert stack.client.post("/api/auth/login", json=wrong).status_code == 401
    swapped = {"name": WRONG_PASSWORD, "password": NAME * 3}
    assert stack.client.post("/api/auth/login", json=swapped).status_code == 401
    for header in (f"Bearer {BAD_TOKEN}", f"Bearer {PROVIDER_KEY}"):
        assert httpx.get(f"{stack.url}/api/me", headers={"authorization": header}).status_code == 401
    body = {"name": "UPPER", "kind": "openai", "api_key": PROVIDER_KEY}
    assert stack.client.post("/api/plugins/eavs/providers", json=body).status_code >= 400
    nonsense = {"api_key": PROVIDER_KEY, "password": WRONG_PASSWORD}
    assert stack.client.post("/api/sessions", json=nonsense).status_code >= 400


def add_provider(stack, url: str) -> None:
    body = {
        "name": "scripted", "kind": "openai-compatible", "base_url": f"{url}/v1", "api_key": PROVIDER_KEY,
        "models": ["m1"], "allow_unpriced": True,
    }  # fmt: skip
    stack.client.post("/api/plugins/eavs/providers", json=body).raise_for_status()


def virtual_key(workspace: Path) -> str:
    """As the agent has it: in the environment of its process, which nobody else can read."""
    for process in Path("/proc").iterdir():
        try:
            is_ours = (process / "cwd").readlink() == workspace
            found = re.search(rb"EAVS_API_KEY=(eavs-[^\0]+)", (process / "environ").read_bytes())
        except OSError:
            continue
        if found and is_ours:
            return found[1].decode()
    raise AssertionError("no agent has a key")


def call_the_proxy(stack) -> None:
    """As an agent does, with its key, with another and with none of ours."""
    proxy = stack.env["OQTO__EAVS__BASE_URL"]
    body = {"model": "scripted/m1", "messages": [{"role": "user", "content": WORDS}]}
    for key in (stack.virtual_key, f"{stack.virtual_key}x", PROVIDER_KEY):
        httpx.post(
            f"{proxy}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}, timeout=30
        )


async def talk(stack, session_id):
    async with mux_client(stack.url, stack.cookie()) as mux:
        assert (await mux.command(session_id, "subscribe", after=0))["success"]
        assert (await mux.command(session_id, "prompt", message=WORDS, client_id="c1"))["success"]
        await mux.until(lambda event: event["event"] == "agent.idle")


def command_lines() -> str:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                found.append((process / "cmdline").read_bytes().decode(errors="replace"))
            except OSError:
                continue
    return "\n".join(found)


def secrets_of(stack) -> dict[str, str]:
    return {
        "password": PASSWORD,
        "wrong password": WRONG_PASSWORD,
        "cookie": stack.cookies[0],
        "later cookie": stack.cookies[1],
        "wrong token": BAD_TOKEN,
        "provider key": PROVIDER_KEY,
        "virtual key": stack.virtual_key,
        "signing secret": (stack.state_dir / "jwt-secret").read_text(),
        "setup link": stack.setup,
    }


def files(stack):
    folders = (stack.state_dir, stack.data_dir)
    return [
        path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
    ]


def test_no_secret_is_an_argument_of_a_process(stack):
    assert "oqto_runner" in stack.arguments
    for name, secret in secrets_of(stack).items():
        assert secret not in stack.arguments, name
    assert not re.search(r"eavs-\w{20}", stack.arguments), "somebody else's key"


def test_no_secret_is_in_a_log(stack):
    logs = [path for path in files(stack) if ".log" in path.name]
    assert any("audit" in path.name for path in logs)
    assert any(path.name == "runner.log" for path in logs)
    texts = {path.name: path.read_text(errors="replace") for path in logs}
    # The link is told to the person at the terminal; everything else that the server says is its log.
    terminal = stack.log.read_text()
    texts["terminal"] = "\n".join(line for line in terminal.splitlines() if "#/setup/" not in line)
    for file, text in texts.items():
        for name, secret in secrets_of(stack).items():
            assert secret not in text, f"{name} in {file}"
        assert WORDS not in text, f"what was said to the agent is in {file}"
    assert '"level":"debug"' in terminal.replace(" ", ""), "this was not the talkative log"


def test_no_secret_is_in_a_transcript(stack):
    kept = [path for path in (stack.state_dir / "runner" / "sessions").rglob("*") if path.is_file()]
    texts = {path.name: path.read_text(errors="replace") for path in kept}
    assert any("CANARY-of-a-prompt" in text for text in texts.values()), "the transcript is elsewhere"
    for file, text in texts.items():
        for name, secret in secrets_of(stack).items():
            assert secret not in text, f"{name} in {file}"


def test_no_secret_is_in_a_file_that_others_can_read(stack):
    for path in stack.root.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o077:
            content = path.read_bytes()
            for name, secret in secrets_of(stack).items():
                is_told = path == stack.log and name == "setup link"  # the test's own capture of the terminal
                assert is_told or secret.encode() not in content, f"{name} in {path}"


def test_keys_of_providers_are_sealed_where_they_are_kept(stack):
    for path in (stack.data_dir / "eavs").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert PROVIDER_KEY.encode() not in content, path.name
            assert stack.virtual_key.encode() not in content, path.name


def test_nobody_else_may_read_what_the_server_keeps(stack):
    named = set()
    for folder in (stack.state_dir, stack.data_dir):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        named |= {path.name for path in folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o077}
    assert not named & {"jwt-secret", "setup-link"}
    assert not {name for name in named if name.endswith((".log", ".jsonl", ".db"))}


def test_the_database_holds_no_password_and_no_link(stack):
    content = b"".join(path.read_bytes() for path in stack.data_dir.glob("oqto.db*"))
    assert b"argon2id" in content
    for name, secret in secrets_of(stack).items():
        assert secret.encode() not in content, name


def test_the_agent_is_given_no_secret_of_the_server(stack):
    """Its environment holds a virtual key, never what signs cookies; told by the runner's own files."""
    for path in (stack.state_dir / "runner").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for name in ("password", "cookie", "signing secret", "setup link"):
                assert secrets_of(stack)[name].encode() not in content, f"{name} in {path.name}"


def test_a_name_that_resolves_to_us_is_not_us(stack):
    """DNS rebinding: a page of evil.example whose name points to 127.0.0.1 reaches nothing."""
    for host in ("evil.example", f"evil.example:{stack.port}", "127.0.0.1.evil.example", "0.0.0.0", "[::1"):
        answer = stack.client.get("/api/auth/state", headers={"host": host})
        assert answer.status_code in (400, 403), (host, answer.text)
    for host in (f"127.0.0.1:{stack.port}", f"localhost:{stack.port}"):
        assert stack.client.get("/api/auth/state", headers={"host": host}).status_code == 200


def test_the_admin_socket_is_for_its_owner_only(stack):
    socket = stack.root / "oqtoctl.sock"
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600


def test_the_audit_log_tells_the_story_and_is_whole(stack):
    from oqto_platform.audit.verify import verify

    path = stack.state_dir / "audit.log.jsonl"
    report = verify(path, stack.state_dir / "audit.seal")
    assert report.is_whole, report.findings
    assert report.records >= 6
    text = path.read_text()
    for event in ("account.created", "sign-in", "session.started", "session.commanded", "session.stopped"):
        assert f'"event":"{event}"' in text
