from collections.abc import Sequence

from oqto_platform import Panel, hookimpl


@hookimpl
def register_panels() -> Sequence[Panel]:
    return [
        Panel(element="oqto-weather", module="weather.js", place="session", title="Weather"),
        Panel(element="oqto-weather-map", module="map.js", place="tool", title="Map", tools=("show_map",)),
    ]
