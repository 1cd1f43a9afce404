"""Carriers: each delivers the journal to one sink, in order and at least once, independent of the other sinks.

A record counts as delivered when the sink's ``write`` returns; only then is the position saved. A failing sink
is retried for ever: records it has not taken stay in the journal's files.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...interfaces import IAuditFileWriter, IAuditWriter, IMeter
from ...process.background import Background
from ...process.worker import TaskRunner
from ..trail.follower import Cursor
from .feeds import BatchFeed, Feed, FileFeed, JournalEnd, Parcel
from .journals import JournalCursor, Journals, MissedRecords
from .pace import TICK_S, JournalPace

LOOK_S = 60.0
"""Seconds between two searches for journals that ended processes have left."""
TIMEOUT_S = 60.0
"""Seconds that a sink may take for one batch."""
FILE_TIMEOUT_S = 900.0
"""Seconds that a sink may take for one whole file."""
_CLOSE_S = 2.0
_BASE_S, _CAP_S = 1.0, 60.0
MAX_RETRY_AFTER_S = 300.0
"""Longest wait, in seconds, that a sink's server may ask for."""


Ends = Callable[[], Mapping[str, Cursor]]
"""Returns how far each journal may be read that is being written: the end of its records on disk."""


def only(committed: Callable[[], Cursor | None]) -> Ends:
    """Make ``Ends`` of one journal.

    :param committed: returns the end of its records on disk; None before there are any.
    """

    def ends() -> Mapping[str, Cursor]:
        position = committed()
        return {} if position is None else {position.journal: position}

    return ends


@frozen(slots=True)
class CarrierTime:
    """Clocks and randomness for a carrier.

    :param clock: for waits.
    :param wall: seconds since the epoch.
    :param random: from 0 to 1; spreads the attempts of many machines.
    :param entropy: returns that many random bytes.
    """

    clock: IReactorTime
    wall: Callable[[], float]
    random: Callable[[], float]
    entropy: Callable[[int], bytes] = os.urandom


class Carrier:
    """Delivers the journal to one sink.

    :param directory: of the records.
    :param worker: a thread of its own, for reading files.
    :param ends: of the journals that are being written.
    :param pace: how fast to go.
    :ivar up: the last attempt did not fail.
    """

    _log = Logger()

    def __init__(
        self,
        writer: Any,
        directory: Path,
        worker: TaskRunner,
        time: CarrierTime,
        meter: IMeter,
        ends: Ends,
        pace: JournalPace | None = None,
    ) -> None:
        self.name: str = writer.name
        self._writer: IAuditWriter | IAuditFileWriter = writer
        files = IAuditFileWriter.providedBy(writer)
        self._hand: Callable[[Any], Awaitable[None]] = writer.write_file if files else writer.write
        self._timeout_s = FILE_TIMEOUT_S if files else TIMEOUT_S
        self._feed: Feed = FileFeed(directory) if files else BatchFeed(directory)
        from_now = getattr(writer, "from_now", False)
        self._journals = Journals(directory, self.name, self._feed, entropy=time.entropy, from_now=from_now)
        self._worker = worker
        self._time = time
        self._meter = meter
        self._ends = ends
        self._pace = pace or JournalPace()
        self._ways: dict[str, JournalCursor] = {}
        self._looked_at: float | None = None
        self._since: float | None = None
        self._is_open = False
        self._tries = 0
        self._said: set[str] = set()
        self._unsaved = False
        self._stopping = False
        self._moving = False
        self._given_up = False
        self._pausing: Deferred[None] | None = None
        self._background = Background(
            self._log,
            "Audit sink {name} stopped by a bug; restart hospproxy to send records again",
            meter,
            name=self.name,
        )

    @property
    def up(self) -> bool:
        return self._tries == 0

    @property
    def behind_records(self) -> int:
        """Records that are not delivered yet."""
        return sum(end.position.seq - way.position.seq for way, end in self._open_ways())

    @property
    def behind_s(self) -> float:
        """Age of the oldest of those records, in seconds."""
        if self._since is None or not self._open_ways():
            return 0.0
        return max(0.0, self._time.wall() - self._since)

    @property
    def arrived(self) -> bool:
        """Whether all that is on disk of the journals that are being written was delivered, and this was saved."""
        return not self._moving and all(
            (way := self._ways.get(journal)) is not None
            and self._feed.arrived(way.position, self._end_of(way))
            for journal in self._ends()
        )

    def hurry(self) -> None:
        """Look for records now, and not at the next tick. It does not shorten a wait after a failure."""
        if self.up:
            self._wake()

    def start(self) -> None:
        """Start delivering; the journal need not have started yet."""
        self._background.run(self._run(), self._ended)

    async def stop(self, timeout_s: float) -> None:
        """Deliver what is left as far as time allows, then close the sink.

        :param timeout_s: seconds; records left after that are delivered after the next start.
        """
        self._stopping = True
        self._wake()
        giving_up = self._time.clock.callLater(timeout_s, self._give_up)
        await self._background.idle()
        if giving_up.active():
            giving_up.cancel()
        if self._is_open:
            try:
                await self._in_time(self._writer.close, _CLOSE_S)
            except Exception as error:
                self._log.warn(
                    "Audit sink {name} did not close its connections: {why}",
                    name=self.name,
                    why=_words(error),
                )
        for journal in list(self._ways):
            way = self._ways.pop(journal)
            await self._worker.run(lambda way=way: self._journals.finish(way))  # type: ignore[misc]
        self._worker.stop()

    def _give_up(self) -> None:
        self._given_up = True
        self._background.stop()

    def _ended(self, outcome: object) -> None:
        if isinstance(outcome, Failure) and outcome.check(CancelledError):
            self._log.info(
                "Audit sink {name} stopped; the next start sends the {left} records that are left",
                name=self.name,
                left=self.behind_records,
            )

    async def _run(self) -> None:
        while True:
            stopping = self._stopping
            try:
                more = await self._round()
            except Exception as error:  # CancelledError too: a sink may raise one that is not ours
                if self._given_up:
                    raise
                await self._failed(error)
                continue
            if not more:
                self._since = None
            if self._stopping and not more:
                if stopping:
                    return
                continue  # the stop came during this round, which did not see the journal's last records
            records = sum(end.seq for end in self._ends().values())
            rest_s = self._pace.rest_s(
                records, self._time.clock.seconds(), self.behind_s, more=more, behind=self.behind_records
            )
            if rest_s and not (self._stopping and more):
                await self._pause(rest_s)

    async def _round(self) -> bool:
        """Deliver one parcel of each journal; return whether more is ready at once."""
        ends = self._ends()
        if not ends:
            return False
        await self._look_around(ends)
        more = False
        for way in list(self._ways.values()):
            more = await self._step(way) or more
        return more

    async def _look_around(self, ends: Mapping[str, Cursor]) -> None:
        for end in ends.values():
            known = self._ways.get(end.journal)
            if known is not None:
                known.end = None  # a new process may have taken over what an ended one had left
                continue
            way = await self._worker.run(lambda end=end: self._journals.take(end))  # type: ignore[misc]
            if way is not None:
                self._ways[end.journal] = way
        for journal in [name for name, way in self._ways.items() if way.end is None and name not in ends]:
            # Its process has ended, and the next one writes another journal.
            way = self._ways.pop(journal)
            await self._worker.run(lambda way=way: self._journals.finish(way))  # type: ignore[misc]
        now = self._time.clock.seconds()
        if self._stopping or (self._looked_at is not None and now - self._looked_at < LOOK_S):
            return
        carried = {*self._ways, *ends}
        for way in await self._worker.run(lambda: self._journals.take_left(carried)):
            self._ways[way.position.journal] = way
        self._looked_at = now

    async def _step(self, way: JournalCursor) -> bool:
        end = self._end_of(way)
        if self._feed.arrived(way.position, end):
            await self._let_go(way)
            return False
        self._moving = True
        try:
            return await self._move(way, end)
        finally:
            self._moving = False

    async def _move(self, way: JournalCursor, end: JournalEnd) -> bool:
        try:
            found = await self._worker.run(lambda: self._journals.next(way.position, end))
        except OSError as error:
            if way.end is None:
                raise
            await self._put_off(way, error)
            return False
        if isinstance(found, MissedRecords):
            self._missed(way, found)
        elif found is None:
            way.position = end.position
        else:
            await self._carry(found)
            way.position = found.position
        await self._save(way.position)
        return not self._feed.arrived(way.position, end)

    async def _let_go(self, way: JournalCursor) -> None:
        if way.end is not None:
            del self._ways[way.position.journal]
            await self._worker.run(lambda: self._journals.finish(way))

    async def _put_off(self, way: JournalCursor, error: OSError) -> None:
        """Drop a left journal that cannot be read, so that it does not hold up the others."""
        self._meter.count("record_writer_failures_total", writer=self.name)
        del self._ways[way.position.journal]
        await self._worker.run(lambda: self._journals.put_off(way, error))

    async def _carry(self, parcel: Parcel) -> None:
        self._since = parcel.since
        if not self._is_open:
            await self._in_time(self._writer.open, self._timeout_s)
            self._is_open = True
        await self._in_time(lambda: self._hand(parcel.item), self._timeout_s)
        self._meter.count("record_writer_carried_total", parcel.records, writer=self.name)
        if not self.up:
            self._log.info("Audit sink {name} works again; waiting records are being sent", name=self.name)
        self._tries = 0
        self._said.clear()

    async def _in_time(self, call: Callable[[], Awaitable[None]], timeout_s: float) -> None:
        async def called() -> None:
            await call()

        await Deferred.fromCoroutine(called()).addTimeout(timeout_s, self._time.clock)

    async def _save(self, position: Cursor) -> None:
        """Save the position of a journal, once the sink has delivered up to there.

        If that fails, delivery goes on: a lost position only means duplicates after a restart.
        """
        try:
            await self._worker.run(lambda: self._journals.save(position))
        except OSError as error:
            if not self._unsaved:
                self._log.error(
                    "Audit sink {name} cannot save its position ({why}); after a restart it may send records twice",
                    name=self.name,
                    why=str(error),
                )
            self._unsaved = True
        else:
            self._unsaved = False

    def _missed(self, way: JournalCursor, missed: MissedRecords) -> None:
        lost = max(1, missed.at.seq - way.position.seq)
        self._meter.count("record_writer_missed_total", lost, writer=self.name)
        self._log.critical(
            "Audit sink {name} will never get {lost} records after record {seq} of journal {journal}: {why}",
            name=self.name,
            lost=lost,
            seq=way.position.seq,
            journal=way.position.journal,
            why=missed.words,
        )
        way.position = missed.at

    async def _failed(self, error: Exception) -> None:
        self._meter.count("record_writer_failures_total", writer=self.name)
        self._tries += 1
        words = _words(error)
        # Log once per outage, and again if the error is of another kind, such as one that an operator must fix.
        kind = f"{type(error).__name__} {getattr(error, 'status', '')}"
        if kind not in self._said and len(self._said) < 10:
            self._said.add(kind)
            say = self._log.critical if getattr(error, "refused", False) else self._log.error
            say(
                "Audit sink {name} is failing; records wait in the journal and will be sent later ({why})",
                name=self.name,
                why=words,
            )
        wait_s = min(_CAP_S, _BASE_S * 2.0 ** min(self._tries - 1, 10)) * (0.5 + self._time.random() / 2)
        asked_s = min(getattr(error, "retry_after_s", None) or 0.0, MAX_RETRY_AFTER_S)
        await self._pause(TICK_S if self._stopping else max(wait_s, asked_s))

    async def _pause(self, seconds: float) -> None:
        pausing: Deferred[None] = Deferred()
        self._pausing = pausing
        call = self._time.clock.callLater(seconds, self._wake)
        try:
            await pausing
        finally:
            self._pausing = None
            _cancel(call)

    def _wake(self) -> None:
        if self._pausing is not None and not self._pausing.called:
            self._pausing.callback(None)

    def _end_of(self, way: JournalCursor) -> JournalEnd:
        return way.end or JournalEnd(self._ends().get(way.position.journal, way.position))

    def _open_ways(self) -> list[tuple[JournalCursor, JournalEnd]]:
        ends = [(way, self._end_of(way)) for way in self._ways.values()]
        return [(way, end) for way, end in ends if not self._feed.arrived(way.position, end)]


def _cancel(call: IDelayedCall) -> None:
    if call.active():
        call.cancel()


def _words(error: Exception) -> str:
    return (f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)[:300]
