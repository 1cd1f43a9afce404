"""An access log in a folder of a test, and what its files hold."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hospproxy.record.access_log.file_names import FileNames, end_of, is_closed_name
from hospproxy.record.access_log.formats import maker_of
from hospproxy.record.access_log.log_folder import OPEN, LogFolder, RotationRule
from hospproxy.record.access_log.sink import AccessLogSink
from hospproxy.record.trail.follower import Batch, Cursor
from hospproxy.watch.metrics import Metrics
from tests.outward.ledger.fakes import AtOnce

from .records import TRAIL, line

START = 1_795_929_600.0
"""2026-11-29T05:20:00Z."""
NAMES = FileNames("123456789012", "eu-central-1", "hosp", "192.0.2.1")


class Log:
    """A process that writes the log.

    :ivar now: seconds since the epoch.
    """

    def __init__(
        self, folder: Path, *, format: str = "alb", most_bytes: int = 1 << 20, now: float = START
    ) -> None:
        self.folder = folder
        self.now = now
        self._random = 0
        self.clock, self.meter = Clock(), Metrics(strict=True)
        rule = RotationRule(most_bytes, 300.0)
        self.files = LogFolder(folder, format, rule, NAMES, lambda: self.now, self._entropy)
        maker = maker_of(format, "hosp", "hosp.internal:3000")
        self.sink = AccessLogSink(self.files, maker, AtOnce(), self.clock, self.meter)

    def _entropy(self, count: int) -> bytes:
        self._random += 1
        return self._random.to_bytes(count, "big")

    def open(self) -> None:
        done(self.sink.open())

    def write(self, first: int, last: int, **more: Any) -> None:
        done(self.sink.write(batch(first, last, **more)))

    def die(self) -> None:
        """Let go of the folder, as the kernel does."""
        self.files.close()

    def files_closed(self) -> float | None:
        return self.meter.value("access_log_files_total", event="closed")


def done(work: Any) -> Any:
    """The result of what ends at once."""
    results: list[Any] = []
    failures: list[Any] = []
    Deferred.fromCoroutine(work).addCallbacks(results.append, failures.append)
    if failures:
        failures[0].raiseException()
    [result] = results
    return result


def batch(first: int, last: int, journal: str = "w0", trail: str = TRAIL, **more: Any) -> Batch:
    """Records of the journal, each with its number as its request id."""
    lines = tuple(line(request_id=f"{journal}-{seq}", **more) for seq in range(first, last + 1))
    return Batch(lines, "head", Cursor(journal, 1, 0, last), trail)


def closed_names(folder: Path) -> list[str]:
    """The names of closed files, wherever they are."""
    found = {path.name for path in folder.rglob("*") if is_closed_name(path.name)}
    return sorted(found, key=lambda name: (end_of(name), name))


def content(folder: Path) -> list[str]:
    """All lines, those of the open file last."""
    parts = [
        gzip.decompress(path.read_bytes()) for name in closed_names(folder) for path in folder.rglob(name)
    ]
    if (folder / OPEN).exists():
        parts.append((folder / OPEN).read_bytes())
    return b"".join(parts).decode("ascii").splitlines()


def ids(folder: Path) -> list[str]:
    """The request ids of all lines."""
    return [found.split('"')[5] for found in content(folder)]


def wanted(last: int, journal: str = "w0") -> list[str]:
    """What ``ids`` must give for the records up to this one."""
    return [f"{journal}-{seq}" for seq in range(1, last + 1)]
