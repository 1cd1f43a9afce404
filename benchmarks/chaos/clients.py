"""The clients: a real HTTP client (aiohttp), with none of the proxy's code. They remember what they were told."""

from __future__ import annotations

import asyncio
import base64
import random
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import msgspec
from attrs import define, field, frozen

from hosp_standin.service import load_seed

from ..plan import STAFF

PATIENCE_S = 60.0
"""How long a client waits for a response."""


@frozen
class Person:
    """A member of staff with credentials."""

    id: int
    name: str
    password: str = field(repr=False)
    hospital: int = 1

    @property
    def authorization(self) -> str:
        pair = f"{self.name}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


def staff() -> list[Person]:
    """Members of staff that every stand-in has."""
    rows = load_seed()["staffs"][:STAFF]
    return [
        Person(int(row["id"]), str(row["name"]), str(row["password"]), int(row["hospital_id"]))  # type: ignore[call-overload]
        for row in rows
    ]


def ids(resource: str) -> list[int]:
    """Ids that every stand-in has."""
    return [int(row["id"]) for row in load_seed()[resource]]  # type: ignore[call-overload]


@frozen
class Answer:
    """What a client was told.

    :param status: 0 if no response came.
    :param began: monotonic seconds at which the request was sent.
    :param seconds: from the request to the whole response.
    :param document: JSON of the response; None if it is not JSON.
    """

    status: int
    began: float
    seconds: float
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    document: Any = None

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300

    @property
    def unknown(self) -> bool:
        """Whether the response says that the outcome is unknown."""
        return isinstance(self.document, dict) and self.document.get("outcome") == "unknown"

    @property
    def denies(self) -> bool:
        """Whether it says that the write does not exist, however often it was requested: a failure without `outcome`.

        A 503 or a 409 is about this attempt only.
        """
        return self.status >= 400 and not self.unknown and self.status not in (408, 409, 429, 503)


@define(eq=False)
class Write:
    """One logical write of a note, however often it is requested.

    :param marker: the note's body.
    :param key: an Idempotency-Key; "" for none.
    """

    who: Person
    marker: str
    patient: int
    key: str = ""
    told: list[Answer] = field(factory=list)

    @property
    def answer(self) -> Answer | None:
        """The response that counts: a success if there was one, otherwise the last."""
        good = [each for each in self.told if each.succeeded]
        return good[0] if good else (self.told[-1] if self.told else None)


class Clients:
    """Clients of one proxy.

    :param base: ``https://host:port``.
    :param certificate: reads the certificate to trust.
    """

    def __init__(self, base: str, certificate: str) -> None:
        trusted = ssl.create_default_context(cafile=certificate)
        self._base = base
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=trusted),
            timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def __aenter__(self) -> Clients:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def ask(
        self,
        method: str,
        path: str,
        who: Person | None,
        document: object = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send one request."""
        sent = {"Accept": "application/json", **(headers or {})}
        if who is not None:
            sent["Authorization"] = who.authorization
        if document is not None:
            body, sent["Content-Type"] = msgspec.json.encode(document), "application/json"
        began = time.monotonic()
        try:
            async with self._session.request(method, self._base + path, data=body, headers=sent) as answer:
                content = await answer.read()
                status, fields = (
                    answer.status,
                    {name.lower(): value for name, value in answer.headers.items()},
                )
        except (aiohttp.ClientError, OSError, TimeoutError):
            return Answer(0, began, time.monotonic() - began)
        return Answer(status, began, time.monotonic() - began, fields, _read(content))

    async def write(self, write: Write) -> Answer:
        """Request a note once."""
        document = {"title": "Visit", "body": write.marker, "patient_id": write.patient}
        headers = {"Idempotency-Key": f'"{write.key}"'} if write.key else {}
        answer = await self.ask("POST", "/notes", write.who, document, headers)
        write.told.append(answer)
        return answer

    async def insist(self, write: Write, until: float, pause_s: float = 0.3) -> Answer:
        """Request a note until the response is definite.

        :param until: monotonic seconds at which it gives up.
        """
        while True:
            answer = await self.write(write)
            definite = answer.succeeded or (400 <= answer.status < 500 and answer.denies)
            if definite or time.monotonic() > until:
                return answer
            await asyncio.sleep(pause_s)


class Notes:
    """Makes logical writes, no two alike, and remembers them.

    :param chance: chooses authors and patients.
    """

    def __init__(self, chance: random.Random) -> None:
        self.made: list[Write] = []
        self._chance = chance
        self._people, self._patients = staff(), ids("patients")

    def make(self, who: Person | None = None, patient: int = 0, key: bool = False) -> Write:
        """Make a write that differs from all earlier ones."""
        number = len(self.made)
        write = Write(
            who or self._chance.choice(self._people),
            f"Note {number}, {self._chance.getrandbits(64):016x}",
            patient or self._chance.choice(self._patients),
            f"key-{self._chance.getrandbits(64):016x}" if key else "",
        )
        self.made.append(write)
        return write


async def paced(rate: Callable[[float], float], seconds: float, one: Callable[[], Any]) -> list[Any]:
    """Start coroutines at a rate, whether earlier ones are done or not; wait for all.

    :param rate: how many a second, by the seconds since the beginning.
    :param one: makes the next coroutine; None for "no more".
    :return: their results.
    """
    tasks: list[asyncio.Task[Any]] = []
    began = due = time.monotonic()
    try:
        while due - began < seconds and (next_one := one()) is not None:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.append(asyncio.create_task(next_one))
            due += 1.0 / rate(due - began)
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def _read(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
