from oqto_platform import Section, Settings, hookimpl


class Weather(Section, frozen=True):
    city: str = "Bergen"


kept: dict[str, str] = {}


@hookimpl
def config_changed(old: Settings, new: Settings) -> None:
    if old.section("weather", Weather).city != new.section("weather", Weather).city:
        kept.clear()
