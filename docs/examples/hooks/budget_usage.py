from oqto_platform import Account, Usage, hookimpl


@hookimpl
def budget_usage(account: Account) -> Usage | None:
    return Usage(spent_nusd=1_250_000_000, limit_nusd=20_000_000_000, calls=42)
