"""What a session cookie says, and how it is signed. Knows no database: whether it still holds is `tokens`' to say."""

from __future__ import annotations

import msgspec

from oqto_platform import slim
from oqto_platform.errors import NotSignedIn
from oqto_platform.settings import Secret

# cryptography (10 MB, 80 ms) is for signatures that we do not make, and the other (0.6 MB) fetches keys of others.
# A plugin may want both, and gets a jwt of its own.
with slim.own_copy("jwt"), slim.without("cryptography"), slim.hollow("jwt.jwks_client"):
    import jwt

ALGORITHM = "HS256"


class Claims(msgspec.Struct, frozen=True):
    """What is inside the token: account, token id, generation of the account's tokens, times."""

    sub: str
    jti: str
    gen: int
    iat: float
    exp: float


def sign(claims: Claims, secret: Secret) -> str:
    """The token."""
    return jwt.encode(msgspec.to_builtins(claims), secret.reveal(), ALGORITHM)


def read(token: str, secret: Secret) -> Claims:
    """What a token says. Raises `NotSignedIn` for one that was not signed with `secret`, or is too old."""
    try:
        raw = jwt.decode(token, secret.reveal(), algorithms=[ALGORITHM], options={"require": ["exp", "jti"]})
        return msgspec.convert(raw, Claims, strict=False)
    except (jwt.InvalidTokenError, msgspec.ValidationError) as exc:
        raise NotSignedIn("sign in first") from exc
