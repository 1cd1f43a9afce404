"""Several workers of several machines on one Clock, in front of one HOSP, with one model of Redis."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from hospproxy.outward.writes.redis.claims import RedisClaims
from hospproxy.sharing.kinds import Away
from hospproxy.sharing.lua_scripts import Script
from tests.outward.ledger.fakes import Disk
from tests.rig import Rig, SmallHosp

from .claims_model import ModelCommon, Store


class WorkerCommon(ModelCommon):
    """The ``Common`` of a process that may be dead: its calls then have no effect and no reply.

    :ivar deaf: number of next replies that are lost.
    """

    dead = False
    deaf = 0

    def __init__(self, store: Store, member: bytes, clock: IReactorTime) -> None:
        super().__init__(store, member)
        self._clock = clock
        self.sees_since = clock.seconds()

    def back(self) -> None:
        """Redis replies again."""
        self.away, self.sees_since = False, self._clock.seconds()

    async def run(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int | str]
    ) -> list[Any]:
        if self.dead:
            return await Deferred()
        found = await super().run(script, keys, args)
        if self.deaf:
            self.deaf -= 1
            raise Away("its reply was lost")
        return found


class Worker(Rig):
    """One process.

    :ivar machine: its name.
    """

    common: WorkerCommon
    machine: str

    def begin(self, store: Store) -> RedisClaims:
        """Connect it to Redis, and make its claims."""
        assert self.ledger._owner is not None
        self.common = WorkerCommon(store, f"{self.machine}.{self.ledger._owner.name}".encode(), self.time)
        return RedisClaims(
            self.common,
            self.common,
            self.sightings,
            self.keeping,
            self.time,
            lambda: 0.5,
            self.meter,
            late_commit_s=25.0,
            window_s=120.0,
            is_gone=self.ledger.is_gone,
        )


class Site:
    """All workers and machines.

    :ivar hosp: the one HOSP.
    """

    def __init__(self, machines: int = 2) -> None:
        self.clock = Clock()
        self.hosp = SmallHosp(self.clock)
        self.store = Store(lambda: 1_700_000_000_000 + int(self.clock.seconds() * 1000))
        self.disks = {f"m{number}": Disk() for number in range(machines)}
        numbers = itertools.count(1)
        self.reference = lambda: f"ref-{next(numbers)}"

    def worker(self, machine: str) -> Worker:
        """Start a process on a machine."""
        worker = Worker.__new__(Worker)
        worker.machine = machine
        worker.__init__(  # type: ignore[misc]
            disk=self.disks[machine],
            clock=self.clock,
            hosp=self.hosp,
            references=self.reference,
            claims=lambda rig: rig.begin(self.store),
        )
        worker.claims.begin_epoch()
        self.clock.advance(0)
        return worker

    def end(self, worker: Worker, *, seen: bool = True, lease_s: float = 0.0) -> None:
        """Kill a process between two instructions.

        :param seen: its machine continues, so its siblings can see that it is dead.
        :param lease_s: seconds until its lease ends.
        """
        worker.worker.dead = worker.common.dead = True
        worker.time.end()
        if seen:
            worker.ledger._owner.leave()  # type: ignore[union-attr]
        worker.common.vanish(lease_s)
