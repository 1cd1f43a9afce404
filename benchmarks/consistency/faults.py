"""Faults during the run, in an order that the seed decides."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

from attrs import define, field

from ..machines.redis_server import Store
from ..machines.site import send
from .clients import World


@define(eq=False)
class Faults:
    """One fault after the other, with quiet in between.

    :param quiet_s: from the end of one to the next.
    :param kinds: which; all of them, in random order, again and again.
    :param pause_s: how long Redis or a worker is stopped, or a link is cut.
    :ivar done: how often each was applied.
    """

    world: World
    chance: random.Random
    kinds: tuple[str, ...]
    quiet_s: tuple[float, float] = (2.0, 6.0)
    pause_s: tuple[float, float] = (0.5, 8.0)
    done: Counter[str] = field(factory=Counter)

    @property
    def rounds(self) -> int:
        """How often each of them was applied, at least."""
        return min((self.done[kind] for kind in self.kinds), default=1 << 30)

    async def go_on(self) -> None:
        """Apply faults until the trial is over; then repair what is broken."""
        while self.kinds and not self.world.over:
            for kind in self.chance.sample(self.kinds, len(self.kinds)):
                await asyncio.sleep(self.chance.uniform(*self.quiet_s))
                if self.world.over:
                    return
                await KINDS[kind](self)
                self.done[kind] += 1

    @property
    def store(self) -> Store:
        assert self.world.town.store is not None, "there is no Redis"
        return self.world.town.store

    async def killed_and_empty(self) -> None:
        """Redis crashes, and has lost everything."""
        self.store.kill()
        self.store.forget()
        await asyncio.sleep(self.chance.uniform(0.0, 4.0))
        await self.store.start()

    async def killed(self) -> None:
        """Redis crashes, and keeps what its append-only file holds: the last second may be lost."""
        self.store.kill()
        await asyncio.sleep(self.chance.uniform(0.0, 4.0))
        await self.store.start()

    async def paused(self) -> None:
        """Redis stops and continues, with everything in its buffers."""
        self.store.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(self.chance.uniform(*self.pause_s))
        finally:
            self.store.signal(signal.SIGCONT)

    async def cut(self) -> None:
        """The link from one machine to Redis is cut."""
        await self._link(silent=False)

    async def silent(self) -> None:
        """The same, with nothing closed; bytes in flight arrive afterwards."""
        await self._link(silent=True)

    async def _link(self, *, silent: bool) -> None:
        link = self.chance.choice(self.world.town.machines).link
        assert link is not None
        link.hush() if silent else link.cut()
        try:
            await asyncio.sleep(self.chance.uniform(*self.pause_s))
        finally:
            link.mend()

    async def worker(self) -> None:
        """``kill -9`` of one worker."""
        send(await self._one(), signal.SIGKILL)

    async def frozen(self) -> None:
        """One worker stops for a while and continues: it must notice that its lease has run out."""
        pid = await self._one()
        send(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self.chance.uniform(*self.pause_s))
        finally:
            send(pid, signal.SIGCONT)

    async def _one(self) -> int:
        machine = self.chance.choice(self.world.town.machines)
        while not (there := machine.workers()):  # noqa: ASYNC110 - a process
            await asyncio.sleep(0.1)
        return self.chance.choice(there)

    async def machine(self) -> None:
        """A whole machine is killed and comes back."""
        machine = self.chance.choice(self.world.town.machines)
        self.world.down.add(machine.name)
        try:
            await machine.kill()
            await asyncio.sleep(self.chance.uniform(0.0, 3.0))
            await machine.start()
        finally:
            self.world.down.discard(machine.name)


KINDS: dict[str, Callable[[Faults], Awaitable[None]]] = {
    "redis-empty": Faults.killed_and_empty,
    "redis-killed": Faults.killed,
    "redis-paused": Faults.paused,
    "link-cut": Faults.cut,
    "link-silent": Faults.silent,
    "worker-killed": Faults.worker,
    "worker-frozen": Faults.frozen,
    "machine-killed": Faults.machine,
}
"""By name."""
OF_WORKERS = ("worker-killed", "worker-frozen")
"""Faults that need a supervisor, which replaces a worker that dies."""
