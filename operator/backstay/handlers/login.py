"""kopf logs in the way our own client does: one login, found in one place, for both."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import kopf

from backstay.kube.client import USER_AGENT
from backstay.kube.login import Login


def register(registry: kopf.OperatorRegistry, login: Login) -> None:
    """Have kopf log in through `login`; it is asked again when the credentials have expired or are refused."""

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.AiohttpSession:
        access = await asyncio.to_thread(login)
        headers = {**dict(access.headers), "User-Agent": f"{USER_AGENT} kopf"}
        connector = aiohttp.TCPConnector(limit=0, ssl=access.tls if access.tls is not None else True)
        session = aiohttp.ClientSession(connector=connector, headers=headers, proxy=access.proxy)
        expires = None if access.fresh_seconds is None else datetime.now(UTC) + timedelta(seconds=access.fresh_seconds)
        return kopf.AiohttpSession(server=access.server, default_namespace=access.namespace, aiohttp_session=session, expiration=expires)
