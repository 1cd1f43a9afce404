"""Reads the metrics of all workers every five seconds: keeps the history, and reports surges.

It runs in one process of a machine, outside of all requests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, cast, get_args

import msgspec
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from ...exchange.words import Signal
from ...interfaces import IMeter
from ...process.background import Background
from ...process.folders import read_bounded, write_whole
from ...process.worker import TaskRunner
from .. import merge
from ..merge import Overview
from . import changes, together
from .counts import Sample, sample_of, since
from .figures import AWAY, attempts, of_kind, requests
from .history import VERSION, Bucket, History, Saved
from .machines import Figures, Machines
from .surges import Change, Reading, Surges

EVERY_S: Final = 5.0
SAVE_S: Final = 60.0
MAX_BYTES: Final = 32 << 20
"""Largest file that is read; a week with a thousand counters in each bucket takes less."""
MOST_SHOWN: Final = 50
"""Surges that are remembered for the page."""
_LEARNT_S: Final = 3600.0
"""Seconds after which what was usual before a restart says little."""
_DAY_S: Final = 86400.0


class Recorder:
    """The history of this machine, and its surges.

    :param path: of the file that keeps the history.
    :param read: returns the snapshots of all workers.
    :param alone: whether there are no other workers; the counters then begin at 0 with this process.
    :param report: takes a sentence about a surge for the alert sinks; it must not fail.
    :param machines: exchanges figures with other machines; None: there are none.
    :param wall: seconds since the epoch.
    :ivar together: watches what all machines have counted.
    """

    _log = Logger()

    def __init__(
        self,
        path: Path,
        reactor: Any,
        wall: Callable[[], float],
        worker: TaskRunner,
        meter: IMeter,
        read: Callable[[], Awaitable[Overview]],
        alone: bool,
        report: Callable[[Change, str], None] = lambda _change, _text: None,
        machines: Machines | None = None,
    ) -> None:
        self._path = path
        self._reactor = reactor
        self._wall = wall
        self._worker = worker
        self._meter = meter
        self._read = read
        self._report = report
        self.history = History()
        self.surges = Surges()
        self.machines = machines
        self.together = together.Together()
        self._counts: tuple[float, ...] = ()
        self._counted_s = 0.0
        self._told_of: dict[str, bool] = {}
        """Each signal of which a begin was reported, and whether it was that of all machines together."""
        self._raised: set[str] = set()
        """Signals of whose begin this machine has raised an alert: it raises the one of the end too."""
        self.shown: deque[tuple[float, Change]] = deque(maxlen=MOST_SHOWN)
        self.latest: Sample | None = None
        self.overview: Overview | None = None
        self.started_at = 0.0
        self._before = Sample() if alone else None
        self._at = self._saved_at = 0.0
        self._saving: Deferred[None] | None = None
        self._states = changes.StateChanges()
        self._save_failed = False
        self._looking = task.LoopingCall(self._look)
        self._looking.clock = reactor
        self._background = Background(self._log, "the status figures could not be read; tried again in 5 s")
        for signal in get_args(Signal):
            meter.gauge("surge_active", self._reader(signal), signal=signal)

    def _reader(self, signal: str) -> Callable[[], float]:
        return lambda: float(
            any(
                each.active
                for each in (*self.surges.watches, *self.together.surges.watches)
                if each.signal == signal
            )
        )

    def start(self) -> None:
        """Load the history, which blocks before the first request, and begin to read."""
        self.started_at = self._wall()
        self._at = self._saved_at = self._reactor.seconds()
        try:
            self._load()
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            self.history = History()
            self._log.error(
                "the status page starts without a history: {path} cannot be read: {why}",
                path=str(self._path),
                why=str(error),
            )
        self._looking.start(EVERY_S, now=self._before is None)

    async def stop(self) -> None:
        """Save the history, and stop the thread."""
        if not self._looking.running:
            return
        self._looking.stop()
        if self._saving is None:
            self._save()
        if self._saving is not None:
            await self._saving
        self._worker.stop()

    def _look(self) -> Deferred[None]:
        return self._background.run(self.look())

    async def look(self) -> None:
        """Read the metrics once; add what they have grown by to the history."""
        overview = await self._read()
        now, wall = self._reactor.seconds(), self._wall()
        sample = sample_of(overview)
        before = self._before
        if before is not None and overview.missing and _fell(before, sample):
            return  # the supervisor did not answer: the counts of other workers are missing
        self.overview, self.latest, self._before = overview, sample, sample
        elapsed_s, self._at = now - self._at, now
        if before is None:
            return
        grown = since(before.counters, sample.counters)
        if sample.gauges.get("breaker_open"):
            grown[AWAY] = elapsed_s
        self.history.add(wall, elapsed_s, grown, sample.gauges)
        for line in self._states.observe(now, grown, sample):
            self._log.emit(LogLevel.lookupByName(line.level), line.text, **line.fields)
        reading, known_per_s = _reading(elapsed_s, grown), self._known_per_s(wall)
        usual_per_s = self.surges.traffic.usual
        told = []
        if self.machines is not None:
            self._counts = together.added(self._counts, reading)
            self._counted_s += elapsed_s
            await self.machines.exchange(self._figures(self.machines.name))
            if not self._looking.running:
                return  # stopped meanwhile
            for change in self.together.observe(reading, self.machines.seen, known_per_s / usual_per_s):
                told += self._tell_once(change, wall, together=True)
        for change in self.surges.observe(reading, known_per_s):
            told += self._tell_once(change, wall, together=False)
        for change in told:
            if await self._raises(change, wall):
                self._report(change, changes.words(change))
        if now - self._saved_at >= SAVE_S and self._saving is None:
            self._save()

    def _known_per_s(self, wall: float) -> float:
        """Return the requests a second of this hour yesterday and a week ago, the larger one."""
        rates = [0.0]
        for back in (_DAY_S, 7 * _DAY_S):
            for bucket in self.history.at(wall - back):
                if bucket.seconds > EVERY_S * 10:
                    rates.append(requests(bucket.counts)[0] / bucket.seconds)
        return max(rates)

    def _figures(self, name: str) -> Figures:
        assert self.overview is not None
        assert self.latest is not None
        gauges, overview = self.latest.gauges, self.overview
        return Figures(
            version("hospproxy"),
            name,
            self.started_at,
            not merge.reasons(overview),
            len(overview.seen) + len(overview.missing),
            len(overview.seen),
            gauges.get("gate_in_flight", 0.0),
            gauges.get("gate_waiting", 0.0),
            self._counted_s,
            self._counts,
        )

    def _tell_once(self, change: Change, wall: float, *, together: bool) -> list[Change]:
        """Tell what began or ended, and return it, unless it was told already: by this machine alone, or by all."""
        if self._told_of.setdefault(change.signal, together) is not together:
            return []
        if not change.began:
            del self._told_of[change.signal]
        text = changes.words(change)
        if change.began:
            self._meter.count("surges_total", signal=cast(Signal, change.signal))
            self._log.warn("{text}", text=text)
        else:
            self._log.info("{text}", text=text)
        self.shown.appendleft((wall, change))
        return [change]

    async def _raises(self, change: Change, wall: float) -> bool:
        """Whether this machine raises the alert: the first to notice does, at the begin and at the end."""
        if not change.began:
            raised = change.signal in self._raised
            self._raised.discard(change.signal)
            return raised
        raised = self.machines is None or await self.machines.claim(change, wall)
        if raised:
            self._raised.add(change.signal)
        return raised

    # The file

    def _load(self) -> None:
        content = read_bounded(self._path, MAX_BYTES)
        if content is None:
            return
        saved = msgspec.json.decode(content, type=Saved)
        if saved.v != VERSION:
            raise ValueError(f"it has version {saved.v}, not {VERSION}")
        self.history.load(saved.rings)
        if 0 <= self._wall() - saved.at < _LEARNT_S:
            self.surges.load(saved.usual)

    def _save(self) -> None:
        """Write the history in the thread. One write at a time: on a dead disk they would pile up."""
        self._saved_at = self._reactor.seconds()
        rings: Mapping[str, list[Bucket]] = self.history.rings
        content = msgspec.json.encode(Saved(VERSION, self._wall(), dict(rings), self.surges.dump()))
        self._saving = self._worker.run(lambda: write_whole(self._path, content))
        self._saving.addCallbacks(self._is_saved, self._not_saved)

    def _is_saved(self, _: None) -> None:
        self._saving, self._save_failed = None, False

    def _not_saved(self, failure: Failure) -> None:
        self._saving = None
        if not self._save_failed:  # every minute, on a full disk
            self._log.error(
                "the history of the status page cannot be written to {path}: {why}; tried again every minute",
                path=str(self._path),
                why=failure.getErrorMessage(),
            )
        self._save_failed = True


def _fell(before: Sample, now: Sample) -> bool:
    return any(now.counters.get(key, 0.0) < count for key, count in before.counters.items())


def _reading(elapsed_s: float, grown: Mapping[str, float]) -> Reading:
    sent, unanswered = attempts(grown)
    by_status = of_kind(grown, "request")
    return Reading(
        elapsed_s,
        requests(grown)[0],
        sum(count for key, count in by_status.items() if key.endswith("|5xx")),
        sent,
        unanswered,
        sum(of_kind(grown, "hosp_took").values()),
        grown.get("hosp_seconds", 0.0),
        sum(count for reason, count in of_kind(grown, "refused").items() if reason != "away"),
    )
