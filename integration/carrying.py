"""A trail on a disk, and the loop that gives it to a writer: what fails comes again."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.task import deferLater

from hospproxy.record.trail.encoding import encode_record
from hospproxy.record.trail.files import OsFiles
from hospproxy.record.trail.following import Batch, ClosedFile, Follower, Position
from hospproxy.record.trail.keeper import Keeper, Plan
from hospproxy.record.trail.linking import hash_of
from hospproxy.record.trail.names import TOMBSTONE, of_journal
from hospproxy.record.trail.signing import Signer
from hospproxy.record.trail.tending import Tender

NAME = "5f0c1d7e"
PATIENCE_S = 60.0
clock = cast(Any, reactor)


class Trail:
    """One journal, w0, written by the keeper itself.

    :ivar key_file: the public key that the trail verifies with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "audit"
        self.signer = Signer.generate()
        self.key_file = folder / "audit.pub"
        self.key_file.write_bytes(self.signer.public_pem)
        self.keeper = Keeper(self.folder, time.time, OsFiles(), signer=self.signer, plan=Plan())
        self.keeper.open()
        self.count = 0

    def keep(self, records: int, filler: int = 200) -> None:
        numbers = range(self.count, self.count + records)
        self.keeper.keep(
            [
                encode_record(
                    {
                        "v": 1,
                        "kind": "request",
                        "time": "2026-11-24T13:15:36.123Z",
                        "n": number,
                        "outcome": "failed" if number % 5 == 0 else "success",
                        "who": {"name": f'Ångström "{number}"] \\ ' + "x" * (number % filler)},
                    }
                )
                for number in numbers
            ]
        )
        self.count += records

    def turn_over(self) -> None:
        """Close the file and begin the next, as a restart does."""
        self.keeper.close()
        self.keeper = Keeper(self.folder, time.time, OsFiles(), signer=self.signer, plan=Plan())
        self.keeper.open()

    def pack(self) -> None:
        assert Tender(self.folder, self.signer, time.time, 0.0).run(self.committed).troubles == []

    @property
    def committed(self) -> Position:
        assert self.keeper.committed is not None
        return self.keeper.committed

    def lines(self) -> list[bytes]:
        """Everything that must arrive."""
        found: list[bytes] = []
        for batch in self.batches(Position("w0")):
            found += batch.lines
        return found

    def batches(self, since: Position, most: int = 500) -> list[Batch]:
        follower = Follower(self.folder, max_records=most)
        found = []
        while batch := follower.read(since, self.committed):
            found.append(batch)
            since = batch.position
        return [Batch(each.lines, each.head, each.position, NAME) for each in found]

    def closed_files(self) -> list[ClosedFile]:
        """Every file that is over, in order."""
        names = of_journal(OsFiles().names(self.folder), "w0")
        closed = [each for each in names if each.number < self.committed.number and each.form != TOMBSTONE]
        found = []
        for name in closed:
            with OsFiles().read(self.folder, name.name) as file:
                last = file.read().splitlines()[-1]
            place = Position("w0", name.number + 1)
            found.append(ClosedFile(self.folder / name.name, name.stem, hash_of(last).decode(), place, NAME))
        return found


class Carrying:
    """Gives a writer one thing after another, each until it is taken.

    :ivar taken: how many were.
    :ivar troubles: what went wrong meanwhile.
    """

    def __init__(self, write: Callable[[Any], Awaitable[None]]) -> None:
        self._write = write
        self.taken = 0
        self.troubles: list[Exception] = []

    async def carry(self, things: list[Any]) -> None:
        latest = clock.seconds() + PATIENCE_S
        for each in things:
            while True:
                try:
                    await self._write(each)
                    break
                except Exception as trouble:
                    self.troubles.append(trouble)
                    assert clock.seconds() < latest, self.troubles[-3:]
                    await deferLater(clock, 0.05)
            self.taken += 1


async def until(condition: Callable[[], bool], what: str = "") -> None:
    """Wait for something to become true."""
    latest = clock.seconds() + PATIENCE_S
    while not condition():
        assert clock.seconds() < latest, f"it never came: {what}"
        await deferLater(clock, 0.02)
