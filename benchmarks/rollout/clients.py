"""The traffic of the trial: members of staff who read and write notes through HAProxy."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import Any

from attrs import define, field

from ..chaos.clients import Person, ids, staff
from ..machines.http_client import NOTHING, Answer, Wire

PATIENCE_S = 20.0
"""How long a client waits for a response."""


@define(eq=False)
class Traffic:
    """Clients that each use a new connection for every request, as HAProxy divides connections.

    :param name: stands in every note and key, so that no two runs write the same.
    :param port: of HAProxy.
    :param rate: requests a second, all clients together.
    :ivar failed: what failed, by status; 0 for no response.
    :ivar failures: the same, in words: when each began and how long it took.
    :ivar stored: texts of notes that got a 201.
    """

    name: str
    port: int
    rate: float
    chance: random.Random
    failed: Counter[int] = field(factory=Counter)
    requests: int = 0
    stored: list[str] = field(factory=list)
    failures: list[str] = field(factory=list)
    _over: bool = False
    _tasks: set[asyncio.Task[Any]] = field(factory=set)

    async def run(self) -> None:
        """Send requests at the rate until `stop`, whether earlier ones are done or not."""
        people, patients, due = staff(), ids("patients"), time.monotonic()
        while not self._over:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            who, patient = self.chance.choice(people), self.chance.choice(patients)
            task = asyncio.create_task(self._one(who, patient))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            due += self.chance.expovariate(self.rate)

    async def stop(self) -> None:
        """Stop, and wait for the requests in flight."""
        self._over = True
        await asyncio.gather(*self._tasks)

    async def _one(self, who: Person, patient: int) -> None:
        self.requests += 1
        if self.requests % 3:
            path = self.chance.choice(("/hospitals", "/patients", f"/patients/{patient}", "/notes"))
            await self._ask(who, "GET", path, None, 200)
            return
        text = f"{self.name}: note {self.requests}"
        document = {"title": "Visit", "body": text, "patient_id": patient}
        if await self._ask(who, "POST", "/notes", document, 201):
            self.stored.append(text)

    async def _ask(self, who: Person, method: str, path: str, document: object, wanted: int) -> bool:
        wire, answer, began, wall = Wire(self.port), NOTHING, time.monotonic(), time.time()
        headers = {"Idempotency-Key": f'"{self.name} {self.requests}"'} if document is not None else None
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await wire.ask(method, path, who.authorization, document, headers)
        except TimeoutError:
            answer = Answer(0)
        finally:
            wire.close()
        if answer.status != wanted:
            self.failed[answer.status] += 1
            at, took_s = time.strftime("%H:%M:%S", time.gmtime(wall)), time.monotonic() - began
            self.failures.append(f"{at}Z {method} {path}: {answer.status or 'none'} after {took_s:.1f} s")
        return answer.status == wanted
