"""A carrier whose sink, clock and thread do what the test says, on a trail on a real disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from hospproxy.interfaces import IAuditFileWriter, IAuditWriter
from hospproxy.record.sinks.carrier import Carrier, CarrierTime, only
from hospproxy.record.sinks.pace import TICK_S
from hospproxy.record.trail.follower import Batch, ClosedFile, Cursor
from hospproxy.watch.metrics import Metrics

from ..trail.disks import HandWorker
from ..trail.trails import Trail


@implementer(IAuditWriter)
@define(eq=False)
class FakeWriter:
    """Keeps what it receives.

    :param results: of the next calls: an error, or a Deferred to wait for; then all succeed.
    """

    name: str = "fake"
    results: list[Any] = field(factory=list)
    batches: list[Batch] = field(factory=list)
    seen: list[Batch] = field(factory=list)
    opened: int = 0
    closed: bool = False

    async def open(self) -> None:
        self.opened += 1

    async def write(self, batch: Batch) -> None:
        self.seen.append(batch)
        result = self.results.pop(0) if self.results else None
        if isinstance(result, Exception):
            raise result
        if isinstance(result, Deferred):
            await result
        self.batches.append(batch)

    async def close(self) -> None:
        self.closed = True

    @property
    def seqs(self) -> list[int]:
        return [msgspec.json.decode(line)["seq"] for batch in self.batches for line in batch.lines]


@implementer(IAuditFileWriter)
@define(eq=False)
class FakeFileWriter:
    name: str = "files"
    files: list[ClosedFile] = field(factory=list)
    away: bool = False

    async def open(self) -> None:
        pass

    async def write_file(self, file: ClosedFile) -> None:
        assert file.path.exists()
        if self.away:
            raise ConnectionError
        self.files.append(file)

    async def close(self) -> None:
        pass


class Rig:
    """A carrier of a process: ``settle`` lets it do all that it can at once."""

    def __init__(self, trail: Trail, writer: Any) -> None:
        self.trail = trail
        self.writer = writer
        self.clock = Clock()
        self.worker = HandWorker()
        self.meter = Metrics(strict=True)
        time = CarrierTime(self.clock, trail.wall, lambda: 1.0)
        self.carrier = Carrier(writer, trail.folder, self.worker, time, self.meter, only(self.committed))
        self.carrier.start()

    def committed(self) -> Cursor | None:
        return self.trail.keeper.committed if self.trail.keeper is not None else None

    def settle(self, seconds: float = TICK_S) -> None:
        while self.worker.tasks:
            self.worker.step()
        self.clock.advance(seconds)
        while self.worker.tasks:
            self.worker.step()

    def settle_long(self, ticks: int = 60) -> None:
        for _ in range(ticks):
            self.settle()

    def stop(self, timeout_s: float = 5.0) -> None:
        stopping = Deferred.fromCoroutine(self.carrier.stop(timeout_s))
        failures: list[Any] = []
        stopping.addErrback(failures.append)
        for _ in range(100):
            if stopping.called:
                break
            self.settle(0.1)
        assert stopping.called
        assert not failures, failures

    def kill(self) -> None:
        """Kill the process: nothing more is saved, and the kernel releases its locks."""
        self.carrier._give_up()
        self.worker.tasks.clear()
        for way in self.carrier._ways.values():
            self.carrier._journals.finish(way)

    def value(self, name: str) -> float | None:
        return self.meter.value(f"record_writer_{name}", writer=self.writer.name)


def trail_in(folder: str) -> Trail:
    return Trail(Path(folder))
