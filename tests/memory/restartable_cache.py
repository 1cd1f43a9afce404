"""A cache whose process ends and starts again, with the same files."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from twisted.internet.task import Clock

from hospproxy.keys.encryption import Seal
from hospproxy.memory.disk import DiskCache, DiskLimits
from hospproxy.memory.disk_file import CacheFile
from tests.outward.ledger.fakes import AtOnce

from .cache_rig import CacheRig

WALL = 1_700_000_000.0


class World:
    """What exists outside the process: files, and the wall clock."""

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / "cache" / "answers.sqlite"
        self.wall = WALL
        self.key = b"k" * 32
        self.made_with = "this key, this contract, this HOSP"
        self.limits = DiskLimits(1 << 20, 100)
        self.trusted = True

    def disk(self, clock: Clock) -> DiskCache:
        """The disk cache of a process that starts now."""
        return DiskCache(
            CacheFile(self.path, self.made_with),
            AtOnce(),
            clock,
            lambda: self.wall + clock.seconds(),
            seal=Seal(self.key, "01234567"),
            mac=lambda data: hmac.digest(self.key, data, hashlib.sha256),
            limits=self.limits,
            trusted=self.trusted,
        )


class Process:
    """One process of a cache."""

    def __init__(self, world: World) -> None:
        self.world = world
        clock = Clock()
        self.disk = world.disk(clock)
        self.rig = CacheRig(keeper=self.disk, clock=clock, renews=True)
        self.rig.accounts.resume(self.disk.open())

    def killed(self) -> Process:
        """Kill this process and start the next one. Writes that were pending are lost."""
        self.world.wall += self.rig.clock.seconds() - 1000
        self.disk._file.close()
        return Process(self.world)

    def ended(self) -> Process:
        """End this process once its pending writes are on disk, and start the next one."""
        self.rig.clock.advance(2)
        return self.killed()
