"""Sign-in tokens: what ends them, and that every worker notices at once."""

from __future__ import annotations

import asyncio
import base64
import json
import stat

import jwt
import pytest

from oqto_platform.accounts.service import Accounts
from oqto_platform.auth.tokens import Epoch, Tokens, signing_secret
from oqto_platform.errors import ConfigError, Forbidden, NotSignedIn
from oqto_platform.settings import Secret

SECRET = Secret("s" * 32)
HOUR = 3600.0


@pytest.fixture
def workers(db, tmp_path):
    """Two workers of one server."""
    made = [Tokens(db, SECRET, Epoch(tmp_path / "epoch"), lambda: HOUR) for _ in range(2)]
    yield made
    for tokens in made:
        tokens._epoch.close()


@pytest.fixture
async def ada(db, monkeypatch):
    async def quick(password):
        return "hash"

    monkeypatch.setattr("oqto_platform.auth.passwords.hash_password", quick)
    return await Accounts(db).create("Ada", "long enough", "admin")


async def holds(tokens, token):
    try:
        return (await tokens.verify(token)).account_id
    except NotSignedIn:
        return None


async def test_a_token_stands_for_its_account_until_it_expires(workers, ada, turn):
    clock = turn("oqto_platform.auth.tokens.now")
    import time

    clock.seconds = time.time()
    token = workers[0].mint(ada.id, 0)
    identity = await workers[0].verify(token)
    assert (identity.account_id, identity.name, identity.role, identity.door) == (
        ada.id,
        "Ada",
        "admin",
        "cookie",
    )
    clock.pass_(HOUR + 1)
    assert workers[0].remembered(token) is None
    expired = Tokens(workers[0]._db, SECRET, workers[0]._epoch, lambda: -1)
    clock.pass_(-HOUR - 1)
    assert await holds(expired, expired.mint(ada.id, 0)) is None


async def test_a_revoked_token_ends_for_every_worker_and_the_others_go_on(workers, ada):
    one, other = workers[0].mint(ada.id, 0), workers[0].mint(ada.id, 0)
    for tokens in workers:
        assert await holds(tokens, one) == await holds(tokens, other) == ada.id
        assert tokens.remembered(one)
    await workers[0].revoke(one)
    for tokens in workers:
        assert tokens.remembered(one) is None
        assert await holds(tokens, one) is None
        assert await holds(tokens, other) == ada.id


async def test_signing_out_everywhere_ends_every_token_of_the_account(workers, ada, db):
    bob = await Accounts(db).create("Bob", "long enough", "user")
    tokens_of_ada = [workers[0].mint(ada.id, 0) for _ in range(3)]
    token_of_bob = workers[0].mint(bob.id, 0)
    for token in (*tokens_of_ada, token_of_bob):
        assert await holds(workers[1], token)
    await workers[0].revoke_all(ada.id)
    for tokens in workers:
        assert [await holds(tokens, token) for token in tokens_of_ada] == [None] * 3
        assert await holds(tokens, token_of_bob) == bob.id
    assert await holds(workers[1], workers[0].mint(ada.id, await Accounts(db).generation(ada.id))) == ada.id


def forged(token, **changes):
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "==")) | changes
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{head}.{body}.{signature}"


async def test_what_we_did_not_sign_is_nothing(workers, ada):
    token = workers[0].mint(ada.id, 0)
    claims = jwt.decode(token, SECRET.reveal(), ["HS256"])
    attempts = [
        "",
        "x",
        token[:-4] + "AAAA",
        forged(token, sub="acc_other"),
        jwt.encode(claims, "t" * 32, "HS256"),
        jwt.encode(claims, None, "none"),
        "a.b.c",
        jwt.encode(
            {name: value for name, value in claims.items() if name != "exp"}, SECRET.reveal(), "HS256"
        ),
        jwt.encode(
            {name: value for name, value in claims.items() if name != "jti"}, SECRET.reveal(), "HS256"
        ),
        jwt.encode(
            {name: value for name, value in claims.items() if name != "gen"}, SECRET.reveal(), "HS256"
        ),
        jwt.encode({**claims, "sub": "acc_nobody"}, SECRET.reveal(), "HS256"),
        jwt.encode({**claims, "gen": 1}, SECRET.reveal(), "HS256"),
    ]
    for attempt in attempts:
        assert await holds(workers[0], attempt) is None, attempt
    await workers[0].revoke("x")
    assert await holds(workers[0], token) == ada.id


def test_the_secret_is_made_once_and_kept_private(tmp_path):
    one = signing_secret(Secret(""), tmp_path, dev_mode=True)
    assert signing_secret(Secret(""), tmp_path, dev_mode=True) == one
    assert len(one.reveal()) >= 32
    assert stat.S_IMODE((tmp_path / "jwt-secret").stat().st_mode) == 0o600


def test_a_server_for_others_needs_a_secret_of_its_own(tmp_path):
    with pytest.raises(ConfigError, match=r"jwt_secret: needed when dev_mode = false"):
        signing_secret(Secret(""), tmp_path, dev_mode=False)
    with pytest.raises(ConfigError, match="at least 32 characters"):
        signing_secret(Secret("short"), tmp_path, dev_mode=True)
    (tmp_path / "jwt-secret").write_text("cut")
    with pytest.raises(ConfigError, match="jwt-secret is damaged; delete it"):
        signing_secret(Secret(""), tmp_path, dev_mode=True)


async def test_of_two_who_use_the_setup_link_at_once_one_wins(db):
    accounts = Accounts(db)
    token = await accounts.new_setup_link()
    results = await asyncio.gather(
        *(accounts.create_first(token, name, "long enough") for name in ("ada", "eve")),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == ["Account", "Forbidden"]
    assert await accounts.count() == 1
    assert await accounts.new_setup_link() is None
    with pytest.raises(Forbidden, match="does not hold"):
        await accounts.create_first(token, "mallory", "long enough")


async def test_a_new_link_burns_the_old_one(db):
    accounts = Accounts(db)
    old, new = await accounts.new_setup_link(), await accounts.new_setup_link()
    with pytest.raises(Forbidden):
        await accounts.create_first(old, "eve", "long enough")
    assert (await accounts.create_first(new, "ada", "long enough")).role == "admin"


async def test_passwords_are_hashed_and_their_length_is_checked():
    from oqto_platform.auth import passwords
    from oqto_platform.errors import Invalid

    stored = await passwords.hash_password("long enough")
    assert stored.startswith("$argon2id$")
    assert await passwords.is_right("long enough", stored)
    assert not await passwords.is_right("long enougH", stored)
    assert not await passwords.is_right("long enough", None)
    assert not await passwords.is_right("long enough", "no hash at all")
    for wrong in ("short", "x" * 1025):
        with pytest.raises(Invalid, match="use 8 to 1024 characters"):
            await passwords.hash_password(wrong)
