from collections.abc import Sequence

from oqto_platform import Check, hookimpl

LAST_ANSWER_MIN = 3


@hookimpl
def health() -> Sequence[Check]:
    return [
        Check(
            name="weather service",
            ok=LAST_ANSWER_MIN < 60,
            detail=f"last answer {LAST_ANSWER_MIN} minutes ago",
            repair="look at the key in [weather] api_key",
        )
    ]
