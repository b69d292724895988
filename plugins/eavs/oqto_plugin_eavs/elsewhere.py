"""
An EAVS on another machine: keys are made and ended there by its admin API, and nothing is started here.

A session keeps one purse through stop and resume: each of its keys gets what the ones before left of the budget.
Which keys it had is noted in a private file, because the proxy there may forget keys that were ended.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import quote, urlsplit

import msgspec

from oqto_platform.errors import BudgetExceeded, ConfigError, OqtoError
from oqto_platform.types import (
    Check,
    ModelInfo,
    ModelSource,
    Reservation,
    ReservationId,
    Settlement,
    Usage,
    new_id,
)

from .config import Eavs

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from oqto_platform.types import Account, Context, Session

LOOPBACK = ("localhost", "127.0.0.1", "::1")
KEY_ENV = "EAVS_API_KEY"
MASTER_ENV = "EAVS_MASTER_KEY"
TIMEOUT_S = 8.0
SHOWN = 300
ENDS = {
    "openai-completions": "/v1",
    "openai-responses": "/v1",
    "anthropic-messages": "",
    "google-generative-ai": "/v1",
}
THEIRS = (
    "providers", "account_budget_usd", "account_budget_window", "platform_budget_usd", "platform_budget_window",
    "default_session_concurrent_calls", "allow_account_keys", "allow_unpriced", "hold_output_tokens", "max_body_mb",
    "workers", "llm_socket_mode",
)  # fmt: skip
"""Keys that only a proxy of our own can honour."""


class EavsRefused(OqtoError):
    """The EAVS elsewhere does not do what it was asked."""

    code, status, title = "eavs-refused", 503, "LLM proxy refused"


class _Model(msgspec.Struct, frozen=True):
    id: str
    name: str = ""
    reasoning: bool = False
    input: tuple[str, ...] = ("text",)
    context_window: int = 128_000
    max_tokens: int = 16_384
    cost: dict[str, float | None] = {}


class _Detail(msgspec.Struct, frozen=True):
    name: str
    pi_api: str = ""
    models: list[_Model] = []


class _Purse(msgspec.Struct):
    """What a session had: its keys that may still be in force with their spending, and what the ended ones spent."""

    reservation: str
    keys: dict[str, int] = {}
    spent_nusd: int = 0


def is_meant(settings: Eavs) -> bool:
    """Whether keys are managed at another EAVS: its address is not here, or its master key is configured."""
    return urlsplit(settings.base_url).hostname not in LOOPBACK or bool(settings.master_key)


def of(context: Context) -> Elsewhere | None:
    """The EAVS elsewhere that the settings mean; `None` when the proxy is our own."""
    settings = context.settings()
    return Elsewhere(settings, context.data_dir / "elsewhere") if is_meant(settings) else None


def check(settings: Eavs) -> None:
    """Raise `ConfigError` for what cannot work with an EAVS elsewhere."""
    parts = urlsplit(settings.base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise ConfigError(f"[eavs] base_url {settings.base_url!r} must look like https://eavs.example.com")
    if not _master_key(settings):
        text = f"[eavs] base_url is another machine's, so master_key (or {MASTER_ENV} in the environment) must be that EAVS's admin key"
        raise ConfigError(text)
    plain = Eavs()
    for name in THEIRS:
        if getattr(settings, name) != getattr(plain, name):
            raise ConfigError(
                f"[eavs] {name} has no effect with an EAVS at {settings.base_url}; set it there and remove it here"
            )


def _master_key(settings: Eavs) -> str:
    return settings.master_key.reveal() or os.environ.get(MASTER_ENV, "")


class Elsewhere:
    """Its admin API, as a session's life needs it."""

    def __init__(self, settings: Eavs, folder: Path) -> None:
        self._settings, self._folder = settings, folder
        self._base = settings.base_url.rstrip("/")

    async def reserve(self, session: Session, account: Account) -> Reservation:
        """A fresh key with what the session has left; the keys before it end."""
        purse = self._read(session.id) or _Purse(new_id("res"))
        await self._end_keys(session.id, purse)
        limit, left = self._settings.default_session_budget_usd, None
        if limit != float("inf"):
            left = limit - purse.spent_nusd / 1e9
            if left <= 0:
                raise BudgetExceeded(
                    "The money set aside for this session is used up. An admin can raise the limit."
                )
        created = await self._call("POST", "/admin/keys", self._new_key(session, account, left))
        purse.keys[created["key_id"]] = 0
        self._write(session.id, purse)
        return Reservation(
            id=ReservationId(purse.reservation),
            limit_usd=None if left is None else limit,
            env={KEY_ENV: created["key"], "EAVS_URL": self._base},
            sources=await self.sources(),
        )

    def _new_key(self, session: Session, account: Account, left: float | None) -> dict[str, Any]:
        settings = self._settings
        limits = {"max_budget_usd": left, "rpm_limit": settings.default_session_rpm or None}
        limits["tpm_limit"] = settings.default_session_tpm or None
        permissions = {name: value for name, value in limits.items() if value is not None}
        metadata = {"session_id": session.id, "created_by": "oqto", "workspace": session.workspace}
        name = _name(session.id)
        return {"name": name, "owner": account.id, "permissions": permissions, "metadata": metadata}

    async def settle(self, session: Session) -> Settlement:
        """End the session's keys and say what all of them spent."""
        purse = self._read(session.id) or _Purse(new_id("res"))
        await self._end_keys(session.id, purse)
        return Settlement(spent_nusd=purse.spent_nusd)

    async def _end_keys(self, session_id: str, purse: _Purse) -> None:
        # A crash between the making of a key and its note leaves one that only its name tells.
        named = [key["key_id"] for key in await self._keys() if key.get("name") == _name(session_id)]
        for key_id in dict.fromkeys([*purse.keys, *named]):
            # Noted before it ends: afterwards the proxy there may not tell any more.
            purse.keys[key_id] = max(purse.keys.get(key_id, 0), await self._spent(key_id))
            self._write(session_id, purse)
            await self._call("DELETE", f"/admin/keys/{quote(key_id, safe='')}", missing_ok=True)
            purse.spent_nusd += max(purse.keys.pop(key_id), await self._spent(key_id))
            self._write(session_id, purse)

    async def _spent(self, key_id: str) -> int:
        found = await self._call("GET", f"/admin/keys/{quote(key_id, safe='')}", missing_ok=True)
        return _nusd(found) if found else 0

    async def _keys(self) -> list[dict[str, Any]]:
        return [key for key in await self._call("GET", "/admin/keys") if not key.get("disabled")]

    async def usage(self, account: Account) -> Usage:
        """What the account's keys spent there, ended ones included."""
        rows = await self._call("GET", f"/admin/usage/by-owner?owner={quote(account.id, safe='')}")
        own = [row for row in rows if row.get("owner") == account.id]
        sessions: dict[str, int] = {}
        for key in await self._keys():
            if key.get("owner") == account.id and str(key.get("name", "")).startswith("session-"):
                identity = key["name"].removeprefix("session-")
                purse = self._read(identity)
                sessions[identity] = _nusd(key) + (purse.spent_nusd if purse else 0)
        return Usage(
            spent_nusd=round(sum(row.get("cost_usd", 0.0) for row in own) * 1e9),
            calls=sum(row.get("requests", 0) for row in own),
            sessions=sessions,
        )

    async def sources(self) -> tuple[ModelSource, ...]:
        """The providers there, as agents reach them."""
        details = msgspec.convert(await self._call("GET", "/providers/detail"), list[_Detail])
        return tuple(
            self._source(d) for d in details if d.pi_api in ENDS and d.name != "default" and d.models
        )

    def _source(self, detail: _Detail) -> ModelSource:
        return ModelSource(
            name=detail.name,
            title=detail.name,
            api=cast("Any", detail.pi_api),
            base_url=f"{self._base}/{detail.name}{ENDS[detail.pi_api]}",
            key_env=KEY_ENV,
            models=tuple(map(_model, detail.models)),
        )

    async def health(self) -> list[Check]:
        """Whether it is there and takes our key."""
        found = await self._call("GET", "/admin/keys/stats")
        return [
            Check(
                name="LLM proxy elsewhere", ok=True, detail=f"{self._base}, {found.get('total_keys', 0)} keys"
            )
        ]

    async def _call(self, method: Method, path: str, body: Any = None, *, missing_ok: bool = False) -> Any:
        import httpx

        headers = {"authorization": f"Bearer {_master_key(self._settings)}"}
        context = ssl.create_default_context(cafile=self._settings.ca_file or None)
        try:
            async with httpx.AsyncClient(base_url=self._base, timeout=TIMEOUT_S, verify=context) as client:
                reply = await client.request(method, path, headers=headers, json=body)
        except httpx.HTTPError as exc:
            text = (
                f"the EAVS at {self._base} does not answer: {exc or type(exc).__name__}; see [eavs] base_url"
            )
            raise EavsRefused(text) from exc
        if reply.status_code == httpx.codes.NOT_FOUND and missing_ok:
            return None
        if not reply.is_success:
            raise EavsRefused(
                f"the EAVS at {self._base} refused {method} {path.partition('?')[0]}: {_reason(reply)}"
            )
        try:
            return reply.json() if reply.content else None
        except ValueError as exc:
            raise EavsRefused(f"what answers at {self._base} is not an EAVS; see [eavs] base_url") from exc

    def _read(self, session_id: str) -> _Purse | None:
        path = self._folder / f"{session_id}.json"
        return msgspec.json.decode(path.read_bytes(), type=_Purse) if path.exists() else None

    def _write(self, session_id: str, purse: _Purse) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._folder / f"{session_id}.new"
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(purse))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._folder / f"{session_id}.json")


Method = Literal["GET", "POST", "DELETE"]


def _name(session_id: str) -> str:
    return f"session-{session_id}"


def _nusd(key: dict[str, Any]) -> int:
    return round(float(key.get("usage", {}).get("total_spend_usd", 0.0)) * 1e9)


def _reason(reply: httpx.Response) -> str:
    words = {401: "it does not know the master key", 403: "it has no master key configured"}
    try:
        said = str(reply.json().get("error", ""))[:SHOWN]
    except (ValueError, AttributeError):
        said = ""
    return f"{words.get(reply.status_code, f'status {reply.status_code}')}{f' ({said})' if said else ''}"


def _model(model: _Model) -> ModelInfo:
    price = {name: model.cost.get(name) or 0.0 for name in ("input", "output", "cache_read", "cache_write")}
    return ModelInfo(
        id=model.id,
        name=model.name or model.id,
        reasoning=model.reasoning,
        input=("text", "image") if "image" in model.input else ("text",),
        context_window=model.context_window,
        max_tokens=model.max_tokens,
        **{f"cost_{name}": value for name, value in price.items()},
    )
