"""What the scripted provider is told to say: directives in the newest user text, as turns of steps."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from oqto_platform.testing.llm_wires import Step, Tokens, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTIVE = re.compile(
    r"\[\[(say|tools?|think|slow|usage|error|length|drop|hang|reset|garbage|badlength|errorevent"
    r"|nousage|usageall|bytewise|crlf)\b ?"
)
MODIFIERS = {"think", "usage", "error", "nousage", "usageall", "bytewise", "crlf"}


@dataclass(frozen=True)
class Turn:
    """What one reply is to be."""

    name: str
    argument: Any = ""
    modifiers: dict[str, str] = field(default_factory=dict)

    def steps(self) -> Iterator[Step | float]:
        """The reply as steps; a number is a pause in seconds."""
        for word in re.findall(r"\S+\s*", self.modifiers.get("think", "")):
            yield "think", word
        yield from self._main()

    def _main(self) -> Iterator[Step | float]:
        if self.name in ("tool", "tools"):
            for index, call in enumerate(self.argument):
                identity = f"call_{time.time_ns():x}_{index}"
                yield "tool", ToolCall(index, identity, call["name"], json.dumps(call["arguments"]))
            yield "stop", "tool_calls"
        elif self.name == "slow":
            count, delay = ([*self.argument.split(), "0.1"])[:2]
            for number in range(int(count)):
                yield "text", f"w{number} "
                yield float(delay)
            yield "stop", "stop"
        else:
            for word in re.findall(r"\S+\s*|\s+", self.argument) or [""]:
                yield "text", word
            yield "stop", "length" if self.name == "length" else "stop"


def directives(text: str) -> list[tuple[str, Any]]:
    """Every directive of `text`, in order. JSON arguments may hold brackets."""
    found: list[tuple[str, Any]] = []
    at = 0
    while match := DIRECTIVE.search(text, at):
        name, start = match.group(1), match.end()
        if name == "tool":
            tool, rest = text[start:].split(" ", 1)
            value, used = json.JSONDecoder().raw_decode(rest)
            found.append((name, [{"name": tool, "arguments": value}]))
            at = start + len(tool) + 1 + used
        elif name == "tools":
            value, used = json.JSONDecoder().raw_decode(text[start:])
            found.append((name, value))
            at = start + used
        else:
            end = text.find("]]", start)
            found.append((name, text[start:end]))
            at = end + 2
    return found


def turns_of(text: str) -> list[Turn]:
    """The directives of `text`, each with the modifiers before it."""
    turns: list[Turn] = []
    modifiers: dict[str, str] = {}
    for name, argument in directives(text):
        if name in MODIFIERS:
            modifiers[name] = argument
        else:
            turns.append(Turn(name, argument, modifiers))
            modifiers = {}
    return [*turns, Turn("auto", "", modifiers)] if modifiers else turns


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = [block.get("text") for block in content or [] if isinstance(block, dict)]
    return "\n".join(part for part in parts if isinstance(part, str))


def _entries(message: dict[str, Any]) -> Iterator[tuple[str, str]]:
    role, kind = message.get("role", ""), message.get("type", "")
    content = message.get("content") or message.get("parts")
    blocks = [b for b in content if isinstance(b, dict)] if isinstance(content, list) else []
    if kind == "function_call" or role == "model":
        yield "assistant", ""
    elif kind == "function_call_output" or role == "tool":
        yield "tool", ""
    elif any(b.get("type") == "tool_result" or "functionResponse" in b for b in blocks):
        yield "tool", ""
        if rest := _text([b for b in blocks if "text" in b]):
            yield "user", rest
    else:
        yield role if role in ("user", "assistant") else "system", _text(content)


def conversation(body: dict[str, Any]) -> list[tuple[str, str]]:
    """The request as (`user` | `assistant` | `tool` | `system`, text), whatever the wire."""
    items = body.get("messages") or body.get("input") or body.get("contents") or []
    if isinstance(items, str):
        return [("user", items)]
    told = [{"role": "user", "content": item} if isinstance(item, str) else item for item in items]
    return [entry for message in told for entry in _entries(message)]


def plan(body: dict[str, Any]) -> tuple[Turn, str]:
    """What to answer, and the user's text that says so."""
    told = conversation(body)
    newest = max((at for at, entry in enumerate(told) if entry[0] == "user"), default=-1)
    text, after = (told[newest][1] if newest >= 0 else ""), told[newest + 1 :]
    roles = [role for role, _ in after]
    used = sum(
        1 for at, role in enumerate(roles) if role == "assistant" and (at == 0 or roles[at - 1] != role)
    )
    turns = turns_of(text)
    turn = turns[used] if used < len(turns) else Turn("auto")
    if turn.name != "auto":
        return turn, text
    words = "done." if roles[-1:] == ["tool"] else "echo: " + re.sub(r"\s+", " ", text).strip()[:160]
    return Turn("say", words, turn.modifiers), text


def tokens_of(turn: Turn) -> Tokens | None:
    if "nousage" in turn.modifiers:
        return None
    numbers = [int(word) for word in turn.modifiers.get("usage", "").split()]
    return Tokens(*numbers)
