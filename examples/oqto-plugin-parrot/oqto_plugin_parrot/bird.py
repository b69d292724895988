"""The agent itself, a program of its own: a line of JSON in, words out."""

import json
import sys


def say(what: str, **more: str) -> None:
    """One line; whoever listens must not wait for the next."""
    sys.stdout.write(json.dumps({"say": what, **more}) + "\n")
    sys.stdout.flush()


say("ready")
for line in sys.stdin:
    for word in json.loads(line)["text"].split():
        say("word", text=f"{word} ")
    say("done")
