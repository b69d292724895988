from collections.abc import Sequence
from shutil import which

from oqto_platform import Check, Settings, hookimpl


@hookimpl
def doctor(settings: Settings) -> Sequence[Check]:
    found = which("weather")
    return [
        Check(
            name="program weather",
            ok=found is not None,
            detail=found or "",
            repair="apt-get install weather-util",
        )
    ]
