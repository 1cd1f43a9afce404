"""Clients that send at a fixed rate and do not wait for responses."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence

from attrs import define, field, frozen

from ..machines.http_client import Wire, basic

_MOST_WIRES = 400


@frozen
class Sent:
    """One request.

    :param at: monotonic seconds.
    :param status: 0 for none.
    """

    at: float
    status: int
    seconds: float


@define(eq=False)
class Crowd:
    """Sends reads of patients, each time of another one, so that HOSP has to work for most of them.

    :param ports: of the machines; requests go to each in turn.
    :param people: names and passwords.
    :param patients: their ids.
    """

    ports: Sequence[int]
    people: Sequence[tuple[str, str]]
    patients: Sequence[int]
    rng: random.Random
    sent: list[Sent] = field(factory=list)
    _free: dict[int, list[Wire]] = field(factory=dict)
    _tasks: set[asyncio.Task[None]] = field(factory=set)
    _number: int = 0

    async def send(self, per_s: float, seconds: float) -> None:
        """Send for so long, evenly; do not wait for responses."""
        until, due = time.monotonic() + seconds, time.monotonic()
        while due < until:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += 1.0 / per_s
            if len(self._tasks) < _MOST_WIRES:
                task = asyncio.create_task(self._one())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Wait for all responses, and close the connections."""
        await asyncio.gather(*self._tasks)
        for wires in self._free.values():
            for wire in wires:
                wire.close()

    async def _one(self) -> None:
        self._number += 1
        port = self.ports[self._number % len(self.ports)]
        free = self._free.setdefault(port, [])
        wire = free.pop() if free else Wire(port)
        name, password = self.rng.choice(self.people)
        began = time.monotonic()
        answer = await wire.ask("GET", f"/patients/{self.rng.choice(self.patients)}", basic(name, password))
        self.sent.append(Sent(began, answer.status, time.monotonic() - began))
        free.append(wire)

    def outcomes(self, since: float, until: float) -> str:
        """Say what became of the requests that were sent in a time."""
        sent = [each for each in self.sent if since <= each.at < until]
        by_status = Counter(each.status for each in sent)
        took = sorted(each.seconds for each in sent) or [0.0]
        statuses = ", ".join(f"{status or 'none'} × {number}" for status, number in sorted(by_status.items()))
        return f"{len(sent)}: {statuses}; p50 {took[len(took) // 2]:.2f} s, p95 {took[len(took) * 95 // 100]:.2f} s"
