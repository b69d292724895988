from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from oqto_runner.harness.pi.conversation import PiConversation
from oqto_runner.harness.pi.sessions import Shelf

from oqto_platform import canon
from oqto_platform.types import AccountId, Launch, ModelInfo, ModelSource, Session, SessionId

FIXTURES = Path(__file__).with_name("fixtures")
STATE = {
    "model": {
        "id": "fake-1",
        "provider": "proxy",
        "contextWindow": 32000,
        "reasoning": True,
        "input": ["text"],
    },
    "thinkingLevel": "off",
    "isStreaming": False,
    "isCompacting": False,
    "sessionId": "0190",
    "autoCompactionEnabled": True,
    "messageCount": 0,
}


class Driver:
    """A conversation with everything that came out of it."""

    def __init__(self, home: Path) -> None:
        home.joinpath("pi", "sessions").mkdir(parents=True, exist_ok=True)
        self.home = home
        self.talk = PiConversation(Shelf(home), prefix="p")
        self.now = 0.0
        self.token = 0
        self.steps: list = []
        self.events: list = []
        self.lines: list[dict] = []
        self.answers: dict[int, list] = {}

    def take(self, step):
        self.steps.append(step)
        self.events += step.events
        self.lines += [msgspec.json.decode(line) for line in step.lines]
        for answer in step.answers:
            self.answers.setdefault(answer.token, []).append(answer)
        return step

    def open(self, *, is_ready=True, commands=()):
        self.take(self.talk.open(self.now))
        if is_ready:
            self.respond("get_commands", {"commands": list(commands)})
            self.respond("get_state", STATE)
            self.events.clear()
        return self

    def do(self, command) -> int:
        self.token += 1
        self.take(self.talk.command(self.token, command, self.now))
        return self.token

    def tell(self, event) -> None:
        line = event if isinstance(event, bytes) else json.dumps(event).encode()
        self.take(self.talk.receive(line, self.now))

    def tick(self, seconds=0.25) -> None:
        self.now += seconds
        self.take(self.talk.tick(self.now))

    def close(self, cause="pi ended") -> None:
        self.take(self.talk.close(self.now, cause))

    def sent(self, kind) -> list[dict]:
        return [line for line in self.lines if line["type"] == kind]

    def respond(self, kind, data=None, *, error=None, which=-1) -> None:
        """Pi's response to the latest request of that kind."""
        reply = {
            "id": self.sent(kind)[which]["id"],
            "type": "response",
            "command": kind,
            "success": error is None,
        }
        self.tell(reply | ({"data": data} if error is None else {"error": error}))

    def answer(self, token):
        (one,) = self.answers[token]
        return one

    def names(self) -> list[str]:
        return [canon.event_name(type(event)) for event in self.events]

    def of(self, kind) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    def users(self) -> list:
        return [end.message for end in self.of(canon.MessageEnd) if end.message.role == "user"]

    @staticmethod
    def words(message) -> str:
        return "".join(part.text for part in message.parts if isinstance(part, canon.TextPart))

    # What pi tells in one turn

    def run_begins(self, text=None) -> None:
        self.tell({"type": "agent_start"})
        if text is not None:
            self.user(text)

    def user(self, text) -> None:
        message = {"role": "user", "content": [{"type": "text", "text": text}], "timestamp": 1}
        self.tell({"type": "message_start", "message": message})
        self.tell({"type": "message_end", "message": message})

    def begins_to_say(self, *words) -> None:
        self.tell({"type": "message_start", "message": {"role": "assistant", "content": [], "timestamp": 2}})
        for word in words:
            update = {"type": "text_delta", "contentIndex": 0, "delta": word}
            self.tell({"type": "message_update", "assistantMessageEvent": update})

    def says(self, *words, stop="stop", **extra) -> None:
        self.begins_to_say(*words)
        content = [{"type": "text", "text": "".join(words)}] if words else []
        message = {"role": "assistant", "content": content, "stopReason": stop, "timestamp": 2, **extra}
        self.tell({"type": "message_end", "message": message})

    def run_ends(self, *, is_old=False) -> None:
        self.tell({"type": "agent_end", "messages": []} | ({} if is_old else {"willRetry": False}))
        if not is_old:
            self.tell({"type": "agent_settled"})


@pytest.fixture
def fresh_driver(tmp_path):
    """Makes drivers; each has a home of its own."""
    made: list[Driver] = []

    def make() -> Driver:
        made.append(Driver(tmp_path / f"home{len(made)}"))
        return made[-1]

    return make


@pytest.fixture
def driver(fresh_driver):
    """A conversation whose pi is ready."""
    return fresh_driver().open()


@pytest.fixture
def session(tmp_path):
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    return Session(id=SessionId("ses_1"), account_id=AccountId("acc_1"), workspace=str(workspace))


@pytest.fixture
def launch_with():
    """Makes a launch whose one provider listens at `url`."""

    def make(url="http://127.0.0.1:1", **options) -> Launch:
        models = (
            ModelInfo(id="fake-1", name="Fake", reasoning=True, input=("text", "image"), cost_input=1.0),
            ModelInfo(id="fake-2", name="Other"),
        )
        source = ModelSource(
            name="proxy",
            title="Proxy",
            api="openai-completions",
            base_url=f"{url}/v1",
            key_env="EAVS_API_KEY",
            models=models,
        )
        return Launch(env={"EAVS_API_KEY": "vk-secret-1234"}, sources=(source,), **options)

    return make


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def replayed(fresh_driver):
    """Replays a recording: pi's stdout alone, or also what was sent to pi, as commands."""

    def replay(path: Path, *, with_commands=False) -> Driver:
        driver = fresh_driver().open()
        ids: dict[str, str] = {}
        for raw in path.read_bytes().split(b"\n"):
            if not raw:
                continue
            record = msgspec.json.decode(raw)
            wait(driver, record["t"])
            if record["dir"] == "in" and with_commands:
                send(driver, record["data"], ids)
            elif record["dir"] == "out":
                hear(driver, record["data"], ids)
        wait(driver, driver.now + 2.0)
        return driver

    return replay


def wait(driver, until):
    """Tick as the runner does, and answer what the conversation asks by itself."""
    while driver.now + 0.25 < until:
        driver.tick(0.25)
        own = [line for line in driver.lines if line["type"] == "get_state" and not line.get("seen")]
        for line in own:
            line["seen"] = True
            driver.tell(
                {"id": line["id"], "type": "response", "command": "get_state", "success": True, "data": STATE}
            )
    driver.now = max(driver.now, until)


def send(driver, data, ids):
    command = as_command(data)
    if command is None:
        return
    before = len(driver.lines)
    driver.do(command)
    for line in driver.lines[before:]:
        line["seen"] = True
        if line["type"] != "clear_queue" and "id" in data:
            ids[data["id"]] = line.get("id", "")


def hear(driver, data, ids):
    if isinstance(data, dict) and data.get("type") == "response":
        data = data | {"id": ids.get(data.get("id"), "unknown")}
    driver.tell(data if isinstance(data, dict) else str(data).encode())


def as_command(data):
    """What a person would have done for the line that was sent to pi."""
    if not isinstance(data, dict):
        return None
    kind = data.get("type")
    if kind in {"prompt", "steer", "follow_up"}:
        follows = kind == "follow_up" or data.get("streamingBehavior") == "followUp"
        images = tuple(
            canon.Image(data=one["data"], media_type=one["mimeType"]) for one in data.get("images", ())
        )
        return (canon.FollowUp if follows else canon.Prompt)(message=data["message"], images=images)
    if kind == "extension_ui_response":
        rest = {key: data[key] for key in ("value", "confirmed", "cancelled") if key in data}
        return canon.InputResponse(request_id=data["id"], **rest)
    plain = {"abort": canon.Abort, "abort_retry": canon.AbortRetry, "get_messages": canon.GetMessages}
    plain |= {"get_session_stats": canon.GetStats, "get_available_models": canon.GetModels}
    plain |= {"get_commands": canon.GetCommands, "get_state": canon.GetState}
    return plain[kind]() if kind in plain else None
