from collections.abc import Sequence

from oqto_platform import Account, Template, hookimpl


@hookimpl
def list_templates(account: Account) -> Sequence[Template]:
    return [Template(name="report", title="A report", description="A folder with an outline in it.")]
