from typing import Annotated

from oqto_platform import Secret, Section, hookimpl, key


class Weather(Section, frozen=True):
    city: Annotated[str, key("Whose weather is shown.", max_length=80)] = "Bergen"
    api_key: Annotated[Secret, key("For the weather service.")] = Secret("")


@hookimpl
def register_config() -> type[Section]:
    return Weather
