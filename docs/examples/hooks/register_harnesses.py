from collections.abc import Sequence
from typing import Any

from oqto_platform import hookimpl


@hookimpl
def register_harnesses() -> Sequence[Any]:
    from oqto_plugin_parrot.harness import Parrot  # examples/oqto-plugin-parrot has all of it

    return [Parrot()]
