from collections import Counter

from oqto_platform import Session, ToolCall, hookimpl

failures: Counter[str] = Counter()


@hookimpl
def tool_ended(session: Session, call: ToolCall) -> None:
    if call.is_error:
        failures[call.name] += 1
