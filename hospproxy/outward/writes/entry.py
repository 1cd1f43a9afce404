"""One write that is open or has just ended, in memory: its state, its names and what is known of it."""

from __future__ import annotations

import enum
import hashlib

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from ...contract.contract import Operation
from ...exchange.exchange import Call, Deadline, Identified, Presence
from ...http.messages import Request, Response
from .versions import RecordVersion


class WriteState(enum.Enum):
    """The state of a write. The ledger stores these values."""

    OPEN = "open"
    UNKNOWN = "unknown"
    """The client was told "unknown". The proxy keeps looking for the outcome, but sends nothing more."""
    ANSWERED = "answered"
    FOUND = "found"
    ABSENT = "absent"
    """Surely not carried out."""
    GIVEN_UP = "given up"
    """The outcome will never be known."""


UNREADABLE = Call(Operation(id="", method="", template="", parameters=(), action=""))
"""The call of an entry whose row no longer tells it: it was wiped, or cannot be unsealed."""


def unreadable(now: float, wall: float) -> Identified:
    """The exchange of an entry with this call.

    :param now: monotonic seconds.
    :param wall: seconds since the epoch.
    """
    return Identified(Request(), now, wall, Deadline(now), presence=Presence(gone=True), call=UNREADABLE)


OPEN_STATES = frozenset({WriteState.OPEN, WriteState.UNKNOWN})


@frozen(slots=True)
class WriteNames:
    """Names of a write among workers and machines, independent of their keys: plain hashes, never stored unsealed.

    :param turn: of the record that it changes, or of the content that it would create.
    :param equal: of what it does.
    :param key: of staff id and Idempotency-Key; None without a key.
    :param retry_of: reference of another worker's write that this one is known to retry.
    """

    turn: bytes = field(repr=False)
    equal: bytes = field(repr=False)
    key: bytes | None = field(default=None, repr=False)
    retry_of: str = ""

    def packed(self) -> bytes:
        """Encode as bytes, for the ledger."""
        return self.turn + self.equal + (self.key or b"")

    @classmethod
    def unpacked(cls, data: bytes) -> WriteNames | None:
        """Decode from bytes; None if they are invalid."""
        size = hashlib.sha256().digest_size
        if len(data) not in (2 * size, 3 * size):
            return None
        return cls(data[:size], data[size : 2 * size], data[2 * size :] or None)


@define(slots=True, eq=False)
class WriteEntry:
    """One write, from its arrival until it is forgotten.

    :param equal: HMAC of what it does; equal writes go one at a time.
    :param key: HMAC of staff id and Idempotency-Key; None without a key.
    :param started: monotonic seconds at which it began.
    :param floor: the highest id of its resource seen by then.
    :param sequence: the highest id of its resource that a new record had been seen to get by then.
    :param not_before: HOSP's clock showed at least this when it began, seconds since the epoch; None if unknown.
    :param steps: how often HOSP's clock had been seen to be set by then; None if that was another process.
    :param before: the record that it changes, as last seen before.
    :param sent: latest monotonic seconds at which HOSP can have received its last attempt; None if there was none.
    :param pending: HOSP may still carry that attempt out: nothing shows that it has been or never will be.
    :param told_unknown: a client was told that the outcome is unknown.
    :param handed_over: a client has received the whole response.
    :param lost: the client left while the response was being written.
    :param repeated: it was sent again although the first attempt might have been carried out late.
    :param retry: the exchange that has joined it and waits for its response.
    :param ended: monotonic seconds at which it was settled, or its client was told "unknown".
    :param names: its names among other workers; None: they need not know of it.
    :param trusted: other workers' writes are visible, so a look can tell this write's record from theirs.
    :param blind: it may have been sent long ago, at an unknown time.
    :param record_name: the record that it changes or made, as in ``equality.record_name``.
    :param made: it made that record.
    :param number: its number in order of arrival.
    :param turn: its turn, if its call no longer tells it.
    """

    reference: str
    equal: bytes = field(repr=False)
    exchange: Identified = field(repr=False)
    started: float
    key: bytes | None = field(default=None, repr=False)
    floor: int | None = None
    sequence: int | None = None
    not_before: float | None = None
    steps: int | None = None
    before: RecordVersion | None = field(default=None, repr=False)
    sent: float | None = None
    pending: bool = False
    state: WriteState = WriteState.OPEN
    answer: Response | None = field(default=None, repr=False)
    record: str | None = None
    told_unknown: bool = False
    handed_over: bool = False
    lost: bool = False
    repeated: bool = False
    retry: Identified | None = field(default=None, repr=False)
    ended: float | None = None
    names: WriteNames | None = field(default=None, repr=False)
    trusted: bool = True
    blind: bool = False
    record_name: bytes | None = None
    made: bool = False
    number: int = 0
    turn: bytes | None = field(default=None, repr=False)
    _waiting: list[Deferred[None]] = field(factory=list, repr=False)

    @property
    def call(self) -> Call:
        return self.exchange.call

    @property
    def is_readable(self) -> bool:
        """Whether its call is known. If not, only its row tells what it is."""
        return self.exchange.call is not UNREADABLE

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    def settled(self) -> Deferred[None]:
        """Fires when the write is no longer open."""
        waiter: Deferred[None] = Deferred()
        if self.is_open:
            self._waiting.append(waiter)
        else:
            waiter.callback(None)
        return waiter

    def settle(self, state: WriteState, now: float) -> None:
        """Set the final state, and wake those that wait for it.

        :param now: monotonic seconds.
        """
        self.state = state
        self.ended = now if self.ended is None else self.ended
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(None)


def has_effect(entry: WriteEntry, state: str) -> bool:
    """Whether a write in this state (a ``WriteState``'s value) has changed its record, or may have."""
    if state == WriteState.ANSWERED.value:
        return entry.answer is not None and 200 <= entry.answer.status < 300
    return state in (WriteState.FOUND.value, WriteState.GIVEN_UP.value)
