"""
Posts what waits. Each notice goes out at least once; `X-Oqto-Delivery` tells two deliveries of one apart from two.

The signature is `X-Oqto-Signature: t=<seconds since the epoch>,v1=<hex>`, where the hex is the HMAC-SHA256 of
`<t>.<body>` with the shared secret. A receiver refuses an old `t`, so that nobody can send a notice again.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING

import httpx

from oqto_plugin_webhook.outbox import Notice, delivered, due, failed

if TYPE_CHECKING:
    from oqto_platform import Context, Secret
    from oqto_plugin_webhook.core import Webhook


async def deliver_due(context: Context) -> None:
    """One round of the job."""
    settings = context.settings()
    notices = await context.db.read(lambda transaction: due(transaction, time.time())) if settings.url else []
    if not notices:
        return
    async with httpx.AsyncClient(timeout=settings.timeout_s, trust_env=False) as client:
        for notice in notices:
            await _deliver(context, client, notice)


async def _deliver(context: Context, client: httpx.AsyncClient, notice: Notice) -> None:
    problem = await _post(client, context.settings(), notice)
    if problem and time.time() - notice.made_at > context.settings().give_up_hours * 3600:
        context.log.error("notice dropped", notice=notice.id, tries=notice.tries + 1, problem=problem)
        problem = ""
    if problem:
        context.log.warning("notice not delivered", notice=notice.id, problem=problem)
        await context.db.write(lambda transaction: failed(transaction, notice, problem, time.time()))
    else:
        await context.db.write(lambda transaction: delivered(transaction, notice))


async def _post(client: httpx.AsyncClient, settings: Webhook, notice: Notice) -> str:
    """An empty text, or what went wrong."""
    headers = {
        "content-type": "application/json",
        "x-oqto-delivery": f"{notice.id}-{int(notice.made_at * 1e3)}",
    }
    if settings.secret:
        headers["x-oqto-signature"] = sign(notice.body, settings.secret, int(time.time()))
    try:
        answer = await client.post(settings.url, content=notice.body, headers=headers)
    except httpx.HTTPError as exc:
        return f"{type(exc).__name__}: {exc}"
    return "" if answer.is_success else f"the receiver answered {answer.status_code}"


def sign(body: str, secret: Secret, at: int) -> str:
    """The value of `X-Oqto-Signature`."""
    digest = hmac.new(secret.reveal().encode(), f"{at}.{body}".encode(), hashlib.sha256)
    return f"t={at},v1={digest.hexdigest()}"
