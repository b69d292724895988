"""Sign-in, sign-out and the own account."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import JSONBody

from oqto_platform import welcome
from oqto_platform.accounts.schemas import AuthState, PasswordChange, SetupRequest, SignIn, UsageView
from oqto_platform.audit.events import (
    AccountCreated,
    PasswordChanged,
    SignedIn,
    SignedOut,
    SignedOutEverywhere,
)
from oqto_platform.auth.guards import COOKIE, credential, identify
from oqto_platform.config.sections import Auth
from oqto_platform.errors import Forbidden, NotSignedIn
from oqto_platform.services import Services
from oqto_platform.types import Account, Credentials, Identity

Asked = Request[Any, Any, Any]


@get("/api/auth/state", opt={"public": True})
async def auth_state(request: Asked, services: NamedDependency[Services]) -> AuthState:
    account = await _account_or_none(request, services)
    return AuthState(
        setup_required=account is None and await services.accounts.count() == 0,
        account=account,
        version=services.version,
        mode=services.mode,
    )


@post("/api/auth/setup", opt={"public": True})
async def set_up(
    request: Asked, data: JSONBody[SetupRequest], services: NamedDependency[Services]
) -> Response[Account]:
    address = _address(request)
    services.throttle.take("setup", address)
    account = await services.accounts.create_first(data.token, data.name, data.password)
    services.throttle.succeeded("setup", address)
    welcome.forget_setup_link(services.state_dir)
    services.audit(AccountCreated(actor=account.name, target=account.id, how="setup link", address=address))
    return await _welcome(request, services, account, status=201)


@post("/api/auth/login", opt={"public": True}, status_code=200)
async def log_in(
    request: Asked, data: JSONBody[SignIn], services: NamedDependency[Services]
) -> Response[Account]:
    name, address = data.name.strip().casefold(), _address(request)
    services.throttle.take(name, address)
    identity = await services.hooks.call.authenticate(Credentials(name=data.name, password=data.password))
    if identity is None:
        known = await services.accounts.name_of(data.name)
        services.audit(SignedIn(actor=known, outcome="refused", address=address))
        raise NotSignedIn("the name or the password is wrong")
    account = await services.accounts.vouched_for(identity)
    services.throttle.succeeded(name, address)
    services.audit(SignedIn(actor=account.name, target=account.id, address=address))
    await services.accounts.signed_in(account.id)
    return await _welcome(request, services, account, status=200)


@post("/api/auth/logout", status_code=204)
async def log_out(request: Asked, services: NamedDependency[Services]) -> Response[None]:
    await services.tokens.revoke(credential(request))
    services.audit(SignedOut())
    return _goodbye()


@post("/api/auth/logout-everywhere", status_code=204)
async def log_out_everywhere(
    services: NamedDependency[Services], identity: NamedDependency[Identity]
) -> Response[None]:
    await services.tokens.revoke_all(identity.account_id)
    services.audit(SignedOutEverywhere())
    return _goodbye()


@post("/api/auth/change-password", status_code=200)
async def change_password(
    request: Asked,
    data: JSONBody[PasswordChange],
    services: NamedDependency[Services],
    identity: NamedDependency[Identity],
) -> Response[Account]:
    """Every other sign-in of the account ends; this one gets a new cookie."""
    services.throttle.take(f"change:{identity.account_id}", _address(request))
    try:
        await services.accounts.set_password(identity.account_id, data.current, data.new)
    except Forbidden:
        services.audit(PasswordChanged(outcome="refused"))
        raise
    services.throttle.succeeded(f"change:{identity.account_id}", _address(request))
    await services.tokens.revoke_all(identity.account_id)
    services.audit(PasswordChanged())
    return await _welcome(request, services, await services.accounts.get(identity.account_id), status=200)


@get("/api/me")
async def me(services: NamedDependency[Services], identity: NamedDependency[Identity]) -> Account:
    return await services.accounts.get(identity.account_id)


@get("/api/usage")
async def usage(services: NamedDependency[Services], identity: NamedDependency[Identity]) -> UsageView:
    await services.access.check(identity, "usage.read", identity.account_id)
    account = await services.accounts.get(identity.account_id)
    found = await services.hooks.call.budget_usage(account)
    return UsageView(
        spent_usd=found.spent_nusd / 1e9 if found else 0.0,
        limit_usd=found.limit_nusd / 1e9 if found and found.limit_nusd is not None else None,
        calls=found.calls if found else 0,
        sessions={name: spent / 1e9 for name, spent in found.sessions.items()} if found else {},
    )


HANDLERS = [auth_state, set_up, log_in, log_out, log_out_everywhere, change_password, me, usage]


async def _account_or_none(request: Asked, services: Services) -> Account | None:
    try:
        identity = await identify(request)
    except NotSignedIn:
        return None
    return (
        await services.accounts.get(identity.account_id) if identity and identity.door == "cookie" else None
    )


async def _welcome(request: Asked, services: Services, account: Account, *, status: int) -> Response[Account]:
    token = services.tokens.mint(account.id, await services.accounts.generation(account.id))
    is_secure = request.url.scheme == "https" or not services.live.current.section("auth", Auth).dev_mode
    cookie = Cookie(
        key=COOKIE,
        value=token,
        httponly=True,
        samesite="strict",
        secure=is_secure,
        path="/",
        max_age=int(services.tokens.lifetime_s),
    )
    return Response(account, status_code=status, cookies=[cookie])


def _goodbye() -> Response[None]:
    cookie = Cookie(key=COOKIE, value="", httponly=True, samesite="strict", path="/", max_age=0)
    return Response(None, status_code=204, cookies=[cookie])


def _address(request: Asked) -> str:
    return request.client.host if request.client else "local"
