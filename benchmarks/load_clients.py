"""The clients: a real HTTP client (aiohttp), with none of the proxy's code. Each takes the next request of the plan."""

from __future__ import annotations

import asyncio
import base64
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from attrs import frozen

from .plan import Planned

PATIENCE_S = 60.0
"""How long a client waits for a response."""


@frozen
class Told:
    """What a client was told.

    :param status: 0 if no response came.
    :param seconds: from sending to the whole response.
    :param document: JSON of the response, None if it is not JSON.
    """

    planned: Planned
    status: int
    seconds: float
    document: Any = None

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300

    @property
    def unknown(self) -> bool:
        """Whether the response says that the outcome is unknown."""
        return isinstance(self.document, dict) and self.document.get("outcome") == "unknown"


async def drive(
    base: str, plan: Sequence[Planned], clients: int, certificate: Path | None = None
) -> tuple[list[Told], float]:
    """Send a plan.

    :param base: ``https://host:port`` or ``http://…``.
    :param clients: number of concurrent requests.
    :param certificate: the certificate to trust, for https.
    :return: what the clients were told, and seconds from the first request to the last response.
    """
    trusted = ssl.create_default_context(cafile=certificate) if certificate else True
    connector = aiohttp.TCPConnector(limit=clients, ssl=trusted)
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    waiting, told = iter(plan), list[Told]()
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        began = time.monotonic()
        await asyncio.gather(*(_client(session, base, waiting, told) for _ in range(clients)))
        return told, time.monotonic() - began


async def _client(
    session: aiohttp.ClientSession, base: str, waiting: Iterator[Planned], told: list[Told]
) -> None:
    for planned in waiting:
        began = time.monotonic()
        status, body = await ask(session, base, planned)
        told.append(Told(planned, status, time.monotonic() - began, _read(body)))


async def ask(session: aiohttp.ClientSession, base: str, planned: Planned) -> tuple[int, bytes]:
    headers = {"Accept": "application/json", **_credentials(planned), **planned.headers}
    try:
        async with session.request(
            planned.method, base + planned.path, data=planned.body, headers=headers
        ) as answer:
            return answer.status, await answer.read()
    except (aiohttp.ClientError, TimeoutError):
        return 0, b""


def _credentials(planned: Planned) -> Mapping[str, str]:
    if not planned.staff:
        return {}
    pair = f"staff{planned.staff}:{planned.password}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _read(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
