import hmac

from oqto_platform import AccountId, Credentials, Identity, hookimpl

GUESTS = {"guest": "welcome to the lighthouse"}


@hookimpl
def authenticate(credentials: Credentials) -> Identity | None:
    expected = GUESTS.get(credentials.name, "")
    is_right = hmac.compare_digest(expected.encode(), credentials.password.encode())
    if not expected or not is_right:
        return None  # not mine: the next plugin is asked, the built-in passwords last
    return Identity(account_id=AccountId(""), name=credentials.name)
