from collections import Counter

from oqto_platform import Session, hookimpl
from oqto_platform.types import ToolCall

failures: Counter[str] = Counter()


@hookimpl
def tool_ended(session: Session, call: ToolCall) -> None:
    if call.is_error:
        failures[call.name] += 1
