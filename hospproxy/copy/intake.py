"""Takes what HOSP's responses show of records, after the response has left, to the thread that keeps the copy."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..contract.contract import Contract, Operation
from ..exchange.exchange import Call
from ..exchange.words import CopyEvent
from ..http.messages import ABSENT, Json, Response
from ..interfaces import IMeter
from ..process.worker import TaskRunner
from .files import CopyUnusable
from .records import Shapes
from .rules import RecordState
from .store import Answer, Applied, CopyExtent, CopyStore

LAZY_S: Final = 1.0
"""Seconds in which responses are collected for one transaction."""
MOST_BYTES: Final = 8 << 20
"""Bytes of the responses that may wait; beyond it they are dropped."""
AT_ONCE_BYTES: Final = 1 << 20
"""Bytes of the responses that one transaction takes: about a second, in which no other process can write."""
GAP_S: Final = 0.2
"""Seconds between two transactions while responses wait, so that other processes get their turn."""
MOST_ANSWERS: Final = 10_000
"""Responses that may wait."""
AGAIN_S: Final = 30.0
"""Seconds until a copy that could not be opened is tried again."""
_RECORDS: Final = {"read": 200, "search": 200, "create": 201, "update": 200}
"""By the action of an operation: the status of a response that shows records."""

_log = Logger()


class CopyIntake:
    """Collects responses and gives them to the copy. Nothing waits for it, and none of its failures reaches a request.

    :param worker: the only thread that touches the store.
    :param clock: monotonic.
    :param since_boot: monotonic seconds on which all processes of the machine agree.
    :param wall: seconds since the epoch.
    :param max_bytes: that the copy may take.
    :ivar trouble: why nothing is stored; None: all is well.
    :ivar bytes: that the copy takes.
    :ivar extent: how much it knows, as of the last minute in which it was filled.
    """

    def __init__(
        self,
        store: CopyStore,
        contract: Contract,
        shapes: Shapes,
        worker: TaskRunner,
        clock: IReactorTime,
        meter: IMeter,
        *,
        since_boot: Callable[[], float],
        wall: Callable[[], float],
        max_bytes: int,
    ) -> None:
        self._store = store
        self._worker = worker
        self._clock = clock
        self._meter = meter
        self._since_boot = since_boot
        self._wall = wall
        self._max_bytes = max_bytes
        self._kept = frozenset(
            one.id for one in contract.operations.values() if one.resource in shapes.by_name
        )
        self._waiting: list[Answer] = []
        self._waiting_bytes = 0
        self._timer: IDelayedCall | None = None
        self._left_some = False
        self._running = False
        self._is_open = False
        self._is_full = False
        self.trouble: str | None = "it is not open yet"
        self.bytes = 0
        self.extent = CopyExtent()

    def oldest_s(self) -> float:
        """Return the seconds since the record was last seen that was not seen for longest; 0 if none is known."""
        oldest = self.extent.oldest
        return 0.0 if oldest is None else max(0.0, self._wall() - oldest)

    def reload(self, max_bytes: int) -> None:
        """Apply a changed bound, from the next group of responses on."""
        self._max_bytes = max_bytes

    def start(self) -> None:
        """Open the copy, in its thread. Responses from now on are taken."""
        self._is_open = True
        self._running = True
        self._worker.run(self._store.open).addCallbacks(self._opened, self._not_opened)

    def saw(
        self, call: Call, response: Response, sent: float, received: float, _document: Json = ABSENT
    ) -> None:
        """Take a response of HOSP that passed the check; an observer of outward.upstream.

        :param sent: monotonic seconds at which its request was sent.
        :param received: monotonic seconds at which it was complete.
        """
        operation = call.operation
        if operation.id not in self._kept or not self._is_open:
            return
        state = _state(operation, response)
        if state is None or (state is not RecordState.PRESENT and call.record_id is None):
            return
        record = call.record_id if operation.action in ("read", "update") else None
        body = response.body if state is RecordState.PRESENT else b""
        # A large list comes in pieces, after a while.
        shift = self._since_boot() - self._clock.seconds()
        self._take(operation.resource or "", state, record, body, shift + sent, shift + received)

    def deleted(self, call: Call, _response: Response) -> None:
        """HOSP has carried out a DELETE, by its own words or by the rules for writes (Memory.acknowledged)."""
        operation = call.operation
        if operation.action == "delete" and operation.id in self._kept and call.record_id is not None:
            now = self._since_boot()
            self._take(operation.resource or "", RecordState.DELETED, call.record_id, b"", now, now)

    async def stop(self) -> None:
        """Store what waits, and close the copy."""
        if not self._is_open:
            self._worker.stop()
            return
        self._is_open = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        group: list[Answer] = []
        try:
            while self.trouble is None and (group := self._group()):
                self._applied(await self._worker.run(lambda: self._store.apply(group, self._max_bytes)))
        except Exception:
            self._failed(Failure(), len(group) + len(self._waiting))
        await self._worker.run(self._store.close)
        self._worker.stop()

    def _take(
        self, resource: str, state: RecordState, record: str | None, body: bytes, began: float, ended: float
    ) -> None:
        size = len(body)
        if self._waiting_bytes + size > MOST_BYTES or len(self._waiting) >= MOST_ANSWERS:
            self._meter.count("copy_events_total", event="dropped")
            return
        self._waiting.append(Answer(resource, state, record, body, began, ended, self._wall()))
        self._waiting_bytes += size
        self._later()

    def _later(self) -> None:
        if self._timer is None and not self._running and self._waiting and self._is_open:
            self._timer = self._clock.callLater(GAP_S if self._left_some else LAZY_S, self._begin)

    def _group(self) -> list[Answer]:
        """Take the responses for one transaction from those that wait."""
        number = size = 0
        for one in self._waiting:
            if number and size + len(one.body) > AT_ONCE_BYTES:
                break
            number, size = number + 1, size + len(one.body)
        group, self._waiting = self._waiting[:number], self._waiting[number:]
        self._waiting_bytes -= size
        self._left_some = bool(self._waiting)
        return group

    def _begin(self) -> None:
        self._timer = None
        group, most = self._group(), self._max_bytes
        self._running = True
        done = self._worker.run(lambda: self._store.apply(group, most))
        done.addCallbacks(self._applied, self._failed, errbackArgs=(len(group),))

    def _opened(self, size: int) -> None:
        self._running = False
        self.trouble, self.bytes = None, size
        self._later()

    def _not_opened(self, failure: Failure) -> None:
        """Say it, and try again later if it may pass. Requests are served as without a copy."""
        self._running = False
        self._troubled(failure)
        if failure.check(sqlite3.Error, OSError) is None:
            self._is_open = False
            lost, self._waiting, self._waiting_bytes = len(self._waiting), [], 0
            if lost:
                self._meter.count("copy_events_total", lost, event="failed")
        elif self._is_open:
            self._timer = self._clock.callLater(AGAIN_S, self._again)

    def _again(self) -> None:
        self._timer = None
        self.start()

    def _applied(self, applied: Applied) -> None:
        self._running = False
        self.trouble, self.bytes = None, applied.bytes
        self.extent = applied.extent or self.extent
        self._count(applied.events)
        is_full = applied.bytes >= self._max_bytes
        if is_full and not self._is_full:
            _log.warn(
                "the copy is full: {bytes} bytes. It keeps what it has and stores no new states; raise copy.max_bytes",
                bytes=applied.bytes,
            )
        self._is_full = is_full
        self._later()

    def _failed(self, failure: Failure, answers: int) -> None:
        self._running = False
        self._meter.count("copy_events_total", answers, event="failed")
        self._troubled(failure)
        self._later()

    def _troubled(self, failure: Failure) -> None:
        if failure.check(CopyUnusable, sqlite3.Error, OSError) is None:
            _log.failure("the copy failed; this is a bug: report the traceback", failure)
            self._meter.count("unhandled_errors_total")
        before, self.trouble = self.trouble, failure.getErrorMessage()
        if before != self.trouble:  # each group tries again
            _log.error("the copy of HOSP's records stores nothing now: {why}", why=self.trouble)

    def _count(self, events: Counter[CopyEvent]) -> None:
        for event, number in sorted(events.items()):
            self._meter.count("copy_events_total", number, event=event)


def _state(operation: Operation, response: Response) -> RecordState | None:
    """What a response says about the records of its operation; None: nothing."""
    if response.status == 404 and operation.action == "read":
        return RecordState.MISSING
    shows = _RECORDS.get(operation.action) == response.status and bool(response.body)
    return RecordState.PRESENT if shows else None
