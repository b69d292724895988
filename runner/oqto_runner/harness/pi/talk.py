"""What the parts of a conversation share: the outbox, the open things, and what is known of pi."""

from __future__ import annotations

import secrets
from typing import Any

from oqto_platform.canon import ModelChanged, QueueChanged, ThinkingLevelChanged, TitleChanged
from oqto_runner.harness.pi.echoes import Echoes
from oqto_runner.harness.pi.outbox import Outbox, Requests
from oqto_runner.harness.pi.questions import Questions
from oqto_runner.harness.pi.stream import AssistantStream
from oqto_runner.harness.pi.tools import Tools
from oqto_runner.harness.pi.turn import Turn
from oqto_runner.harness.pi.values import record, text


class Talk:
    """State of one pi process. `now` is the monotonic time of the current step."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix or secrets.token_hex(6)
        self._minted = 0
        self.now = 0.0
        self.out = Outbox()
        self.requests = Requests(self.out, self._prefix)
        self.turn = Turn(self.out)
        self.stream = AssistantStream(self.out, self.mint)
        self.tools = Tools(self.out)
        self.questions = Questions(self.out)
        self.echoes = Echoes()
        self.facts = Facts(self.out)

    def mint(self) -> str:
        """A message id, unique across restarts: the prefix is drawn per process."""
        self._minted += 1
        return f"msg_{self._prefix}_{self._minted}"

    def settle(self) -> None:
        """The agent has come to rest: close what it left open, then say that it is idle."""
        self.stream.break_off()
        self.tools.end_all("pi did not report how this tool ended", self.now)
        self.tools.forget_ended()
        self.questions.drop_of_run()
        if not self.facts.has_queue:
            self.echoes.forget_taken()
        self.turn.end()


class Facts:
    """What pi has told about itself; a change is said once."""

    def __init__(self, out: Outbox) -> None:
        self._out = out
        self.provider = ""
        self.model = ""
        self.thinking = ""
        self.title = ""
        self.session_file = ""
        self.external_id = ""
        self.steering: tuple[str, ...] = ()
        self.follow_up: tuple[str, ...] = ()

    @property
    def has_queue(self) -> bool:
        return bool(self.steering or self.follow_up)

    def state(self, data: dict[str, Any]) -> None:
        """An answer to `get_state`."""
        self.model_is(record(data, "model"))
        self.thinking_is(text(data, "thinkingLevel"))
        self.session_file = text(data, "sessionFile")
        self.external_id = text(data, "sessionId")
        self.title = text(data, "sessionName")

    def model_is(self, model: dict[str, Any]) -> None:
        provider, name = text(model, "provider"), text(model, "id")
        # Pi's word for "no model is configured".
        if not name or name == "unknown" or (provider, name) == (self.provider, self.model):
            return
        self.provider, self.model = provider, name
        self._out.say(ModelChanged(provider=provider, model_id=name))

    def thinking_is(self, level: str) -> None:
        if level and level != self.thinking:
            self.thinking = level
            self._out.say(ThinkingLevelChanged(level=level))

    def title_is(self, title: str) -> None:
        if title != self.title:
            self.title = title
            self._out.say(TitleChanged(title=title))

    def queues_are(self, steering: tuple[str, ...], follow_up: tuple[str, ...]) -> None:
        if (steering, follow_up) != (self.steering, self.follow_up):
            self.steering, self.follow_up = steering, follow_up
            self._out.say(QueueChanged(steering=steering, follow_up=follow_up))
