"""A trail on disk, and the proxy's carrier that delivers it to a sink: what fails is delivered again."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.task import deferLater
from zope.interface import directlyProvides, implementer

from hospproxy.arrival.null_meter import NullMeter
from hospproxy.interfaces import IAuditFileWriter, IAuditWriter
from hospproxy.keys.signing_key import Signer
from hospproxy.process.worker import TaskThread
from hospproxy.record.sinks.carrier import Carrier, CarrierTime, only
from hospproxy.record.trail.current import RotationPlan
from hospproxy.record.trail.files import OsFiles
from hospproxy.record.trail.follower import Batch, ClosedFile, Cursor, Follower
from hospproxy.record.trail.hash_chain import hash_of
from hospproxy.record.trail.identity import trail_id
from hospproxy.record.trail.keeper import TrailKeeper
from hospproxy.record.trail.names import TOMBSTONE, of_journal
from hospproxy.record.trail.record_line import encode_record
from hospproxy.record.trail.upkeep import TrailUpkeep

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
        self.keeper = TrailKeeper(self.folder, time.time, OsFiles(), signer=self.signer, plan=RotationPlan())
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
        self.keeper = TrailKeeper(self.folder, time.time, OsFiles(), signer=self.signer, plan=RotationPlan())
        self.keeper.open()

    def pack(self) -> None:
        assert TrailUpkeep(self.folder, self.signer, time.time, 0.0).run(self.committed).troubles == []

    @property
    def name(self) -> str:
        """Id of the trail."""
        return trail_id(self.folder)

    def carrying(self, writer: Any, before: Callable[[int], object] = lambda _: None) -> Carrying:
        """A carrier from the current position, not started yet."""
        return Carrying(writer, self.folder, lambda: self.committed, before)

    def forget(self) -> None:
        """Delete the saved cursors, so that delivery starts again with the oldest record."""
        forget(self.folder)

    @property
    def committed(self) -> Cursor:
        assert self.keeper.committed is not None
        return self.keeper.committed

    def lines(self) -> list[bytes]:
        """Every line that must be delivered."""
        found: list[bytes] = []
        for batch in self.batches(Cursor("w0")):
            found += batch.lines
        return found

    def batches(self, since: Cursor, most: int = 500) -> list[Batch]:
        follower = Follower(self.folder, max_records=most)
        found = []
        while batch := follower.read(since, self.committed):
            found.append(batch)
            since = batch.position
        return [Batch(each.lines, each.head, each.position, self.name) for each in found]

    def closed_files(self) -> list[ClosedFile]:
        """Every closed file, in order."""
        names = of_journal(OsFiles().names(self.folder), "w0")
        closed = [each for each in names if each.number < self.committed.number and each.form != TOMBSTONE]
        found = []
        for name in closed:
            with OsFiles().read(self.folder, name.name) as file:
                last = file.read().splitlines()[-1]
            place = Cursor("w0", name.number + 1)
            head = hash_of(last).decode()
            found.append(ClosedFile(self.folder / name.name, name.stem, head, place, self.name))
        return found


@implementer(IAuditWriter)
class Watched:
    """A sink, and the history of what it was given.

    :param before: called before each batch, with the number of batches taken so far.
    :ivar taken: number of batches taken.
    :ivar troubles: errors so far.
    """

    def __init__(self, writer: Any, before: Callable[[int], object]) -> None:
        self.name = writer.name
        self.taken = 0
        self.troubles: list[Exception] = []
        self._writer = writer
        self._before = before
        if IAuditFileWriter.providedBy(writer):
            directlyProvides(self, IAuditFileWriter)

    async def open(self) -> None:
        await self._noting(self._writer.open())

    async def write(self, batch: Batch) -> None:
        self._before(self.taken)
        await self._noting(self._writer.write(batch))
        self.taken += 1

    async def write_file(self, file: ClosedFile) -> None:
        self._before(self.taken)
        await self._noting(self._writer.write_file(file))
        self.taken += 1

    async def close(self) -> None:
        await self._writer.close()

    async def _noting(self, doing: Awaitable[None]) -> None:
        try:
            await doing
        except Exception as trouble:
            self.troubles.append(trouble)
            raise


class Carrying(Watched):
    """The proxy's own carrier between a trail on disk and a sink, with the proxy's own waits.

    :param committed: position up to which records are on disk.
    """

    def __init__(
        self,
        writer: Any,
        folder: Path,
        committed: Callable[[], Cursor | None],
        before: Callable[[int], object] = lambda _: None,
    ) -> None:
        super().__init__(writer, before)
        times = CarrierTime(clock, time.time, lambda: 0.0)
        self.carrier = Carrier(
            self, folder, TaskThread(clock, "carrier"), times, NullMeter(), only(committed)
        )

    def start(self) -> None:
        self.carrier.start()

    async def arrive(self) -> None:
        """Wait until everything on disk was delivered."""
        await until(lambda: self.taken > 0 and self.carrier.behind_records == 0, "everything")

    async def stop(self) -> None:
        """Deliver what is left, then close the sink."""
        await self.carrier.stop(PATIENCE_S)
        assert self.carrier.behind_records == 0, self.troubles[-3:]

    async def carry(self) -> None:
        """Start, deliver everything, stop."""
        self.start()
        await self.arrive()
        await self.stop()


def forget(folder: Path) -> None:
    """Delete the saved cursors: carriers start again with the oldest record."""
    for path in (folder / "positions").glob("*.json"):
        path.unlink()


async def until(condition: Callable[[], bool], what: str = "") -> None:
    """Wait until a condition holds."""
    latest = clock.seconds() + PATIENCE_S
    while not condition():
        assert clock.seconds() < latest, f"it never came: {what}"
        await deferLater(clock, 0.02)
