"""
What the demo model does: a small deterministic script over the tools that the agent offers.

It understands a handful of requests, calls the agent's real tools for them and tells what they really
said. For everything else it explains what it is.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

LIST = re.compile(
    r"\b(folder|director\w*|files|workspace|project|repo\w*|list|ls|here|look around|overview)\b",
    re.IGNORECASE,
)
WRITE = re.compile(r"\b(write|create|make|save|add|generate|build)\b", re.IGNORECASE)
READ = re.compile(r"\b(read|show|open|cat|print|explain|summar\w+|contents?)\b", re.IGNORECASE)
QUOTED = re.compile(r"`([^`\n]+)`")
RUN = re.compile(r"^\s*(?:please\s+)?(?:run|execute)\s+(.+)$", re.IGNORECASE | re.MULTILINE)
FILE = re.compile(r"(?<![\w/])([\w][\w./-]*\.[A-Za-z]\w{0,6})\b")
ENTRY = re.compile(
    r"^([-dl])[rwxsStT-]{9}\S*\s+\d+\s+\S+\s+\S+\s+(\d+)\s+\S+\s+\S+\s+\S+\s+(.+)$", re.MULTILINE
)
NOTABLE = {
    "README.md": "the place to start reading",
    "pyproject.toml": "a Python project",
    "package.json": "a JavaScript or TypeScript project",
    "Cargo.toml": "a Rust project",
    "go.mod": "a Go project",
    "Makefile": "tasks for `make`",
    "Dockerfile": "a container image",
    ".git": "under version control",
}
ABOUT = (
    "I am the **demo model** that comes with Oqto. I run inside the LLM proxy, need no key and cost nothing, "
    "but there is no real language model behind me: I follow a small script, so that you can see a session work.\n\n"
    "Things I can do with your agent's real tools:\n\n"
    "- *What is in this folder?* — I list it and look at the README\n"
    "- *Write a file hello.py* — I create it\n"
    "- *Read notes.md* — I show it\n"
    "- *Run `uname -a`* — I run it and tell what it said\n\n"
    "For real work, add a provider: open the menu under your name and choose **Model sources**. It takes an API key of "
    "OpenAI, Anthropic or OpenRouter, or any compatible server."
)


@dataclass(frozen=True)
class Reply:
    """One turn of the model: thoughts, then text, then perhaps a call of a tool."""

    thoughts: str = ""
    text: str = ""
    tool: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Talk:
    """A request as the script sees it: the newest question, the tools, and what they answered since."""

    question: str
    tools: dict[str, dict[str, Any]]
    results: tuple[str, ...]

    def tool(self, *names: str) -> str:
        """The first of `names` that the agent offers."""
        return next((name for name in names if name in self.tools), "")

    def call(self, tool: str, thoughts: str, **arguments: str) -> Reply:
        """Call `tool`, with each argument under the name that its schema has for it."""
        properties = self.tools[tool].get("properties") or {}
        renamed = {_named(name, properties): value for name, value in arguments.items()}
        if "description" in properties:
            renamed["description"] = thoughts
        return Reply(thoughts=thoughts, tool=tool, arguments=renamed)


def _named(name: str, properties: dict[str, Any]) -> str:
    if name in properties or name != "path":
        return name
    return next((other for other in ("filePath", "file_path", "filename") if other in properties), name)


def read_request(body: dict[str, Any]) -> Talk:
    """The talk of an OpenAI chat-completions request."""
    tools = {}
    for entry in body.get("tools") or []:
        function = entry.get("function") or {}
        tools[str(function.get("name", ""))] = function.get("parameters") or {}
    messages = [m for m in body.get("messages") or [] if isinstance(m, dict)]
    newest = max((at for at, m in enumerate(messages) if m.get("role") == "user"), default=-1)
    question = text_of(messages[newest].get("content")) if newest >= 0 else ""
    results = tuple(text_of(m.get("content")) for m in messages[newest + 1 :] if m.get("role") == "tool")
    return Talk(question, tools, results)


def text_of(content: Any) -> str:
    """The text of a message, whole or in parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def answer(talk: Talk) -> Reply:
    """The next turn. The order of the questions decides: a file name makes a listing unlikely."""
    name = FILE.search(talk.question)
    if (command := QUOTED.search(talk.question) or RUN.search(talk.question)) and talk.tool("bash"):
        return _run(talk, command.group(1).strip())
    if WRITE.search(talk.question) and (name or "file" in talk.question.lower()) and talk.tool("write"):
        return _write(talk, name.group(1) if name else "hello.md")
    if READ.search(talk.question) and name and talk.tool("read"):
        return _read(talk, name.group(1))
    if LIST.search(talk.question) and talk.tool("bash", "ls", "list"):
        return _look(talk)
    return Reply(thoughts="There is no tool to call for this. I will say what I can do.", text=ABOUT)


def _run(talk: Talk, command: str) -> Reply:
    if not talk.results:
        return talk.call(
            "bash", f"The person wants to see what `{command}` says. I will run it.", command=command
        )
    said = talk.results[-1].strip()
    if not said:
        return Reply(text=f"I ran `{command}`. It ended without saying anything.")
    return Reply(text=f"I ran `{command}`. It said:\n\n```\n{_short(said, 40)}\n```")


def _write(talk: Talk, path: str) -> Reply:
    if not talk.results:
        thoughts = f"A new file {path}. I will write something small that works."
        return talk.call(talk.tool("write"), thoughts, path=path, content=content_for(path))
    if len(talk.results) == 1 and path.endswith(".py") and talk.tool("bash"):
        return talk.call("bash", "Written. Let me check that it runs.", command=f"python3 {path}")
    checked = (
        f"\n\nRunning it says:\n\n```\n{_short(talk.results[-1].strip(), 20)}\n```"
        if len(talk.results) > 1
        else ""
    )
    return Reply(text=f"I wrote **{path}**.{checked}\n\nIt is in your workspace: open it in the files panel.")


def content_for(path: str) -> str:
    """Something small that suits the ending of `path`."""
    if path.endswith(".py"):
        return '"""A first greeting."""\n\nprint("Hello from Oqto!")\n'
    if path.endswith((".html", ".htm")):
        return "<!doctype html>\n<title>Hello</title>\n<h1>Hello from Oqto!</h1>\n"
    if path.endswith((".js", ".ts")):
        return 'console.log("Hello from Oqto!");\n'
    if path.endswith(".sh"):
        return '#!/bin/sh\necho "Hello from Oqto!"\n'
    if path.endswith(".json"):
        return '{\n  "hello": "Oqto"\n}\n'
    return "# Hello\n\nThis file was written by the demo model of Oqto.\n"


def _read(talk: Talk, path: str) -> Reply:
    if not talk.results:
        return talk.call("read", f"I will read {path}.", path=path)
    said = talk.results[-1]
    lines = said.count("\n") + 1
    return Reply(
        text=f"**{path}** has {lines} line{'s' * (lines != 1)}. It begins:\n\n```\n{_short(said, 15)}\n```"
    )


def _look(talk: Talk) -> Reply:
    if not talk.results:
        tool = talk.tool("bash", "ls", "list")
        arguments = {"command": "ls -la"} if tool == "bash" else {"path": "."}
        return talk.call(tool, "I should look before I say anything. Let me list the folder.", **arguments)
    entries = ENTRY.findall(talk.results[0])
    readme = next((name for _, _, name in entries if name.lower().startswith("readme")), "")
    if len(talk.results) == 1 and readme and talk.tool("read"):
        return talk.call("read", f"There is a {readme}. It may say what this is about.", path=readme)
    about = talk.results[1] if len(talk.results) > 1 else ""
    return Reply(thoughts="Now I know enough to sum it up.", text=summary(talk.results[0], entries, about))


def summary(listing: str, entries: list[tuple[str, str, str]], readme: str) -> str:
    """A listing in words: counts, the largest file, what stands out, how the README begins."""
    seen = [entry for entry in entries if entry[2] not in (".", "..")]
    folders = [name for kind, _, name in seen if kind == "d"]
    files = [(int(size), name) for kind, size, name in seen if kind == "-"]
    if not entries:
        return f"The listing says:\n\n```\n{_short(listing.strip(), 30)}\n```"
    if not seen:
        return "This folder is **empty**: a good place to begin. Try *write a file hello.py*."
    lines = [f"This folder holds **{_count(len(files), 'file')}** and **{_count(len(folders), 'folder')}**."]
    if files:
        size, name = max(files)
        lines.append(f"The largest file is `{name}` ({size:,} bytes).")
    notable = [f"- `{name}`: {NOTABLE[name]}" for _, _, name in seen if name in NOTABLE]
    others = ", ".join(f"`{name}`" for _, _, name in seen if name not in NOTABLE)
    parts = [" ".join(lines), "\n".join(notable), f"Also here: {others}." if others else ""]
    if title := next(
        (line.strip("# ").strip() for line in readme.splitlines() if line.strip("# ").strip()), ""
    ):
        parts.append(f"The README begins: *{title}*")
    return "\n\n".join(part for part in parts if part)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _short(text: str, lines: int) -> str:
    kept = text.splitlines()
    more = f"\n… {len(kept) - lines} more lines" if len(kept) > lines else ""
    return "\n".join(kept[:lines]) + more


def arguments_text(reply: Reply) -> str:
    """The arguments of a call as the wire has them."""
    return json.dumps(reply.arguments)
