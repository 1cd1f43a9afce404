"""Writes in progress and those that just ended: whose turn it is, and which one a second, equal write is the retry of.

This is the side of the ledger that lives in memory. Bounded by the writes that may be open and by a window of time.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import itertools
from collections.abc import Callable, Sequence
from functools import partial

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ...errors import OverCapacity
from ...messages import Call, Exchange, Response
from .equality import digest, record_name, record_of, turn_of, what
from .overtaking import ByRecord
from .turn_queues import TurnQueues
from .versions import Version


class State(enum.Enum):
    """How far a write is. The values stand in the ledger."""

    OPEN = "open"
    UNKNOWN = "unknown"
    """Its client was told so; finding out goes on, sending does not."""
    ANSWERED = "answered"
    FOUND = "found"
    ABSENT = "absent"
    """Surely not carried out."""
    GIVEN_UP = "given up"
    """It will never be known."""


OPEN_STATES = frozenset({State.OPEN, State.UNKNOWN})


@frozen(slots=True)
class Names:
    """What a write is known by among workers and machines, whatever their keys: plain hashes, never kept as they are.

    :param turn: of the record that it changes, or of what it would make.
    :param equal: of what it does.
    :param key: of staff id and Idempotency-Key; None without one.
    :param retry_of: the reference of the write of another worker that this is known to be the retry of.
    """

    turn: bytes = field(repr=False)
    equal: bytes = field(repr=False)
    key: bytes | None = field(default=None, repr=False)
    retry_of: str = ""

    def packed(self) -> bytes:
        """As bytes."""
        return self.turn + self.equal + (self.key or b"")

    @classmethod
    def unpacked(cls, data: bytes) -> Names | None:
        """From bytes; None if they are no names."""
        size = hashlib.sha256().digest_size
        if len(data) not in (2 * size, 3 * size):
            return None
        return cls(data[:size], data[size : 2 * size], data[2 * size :] or None)


@define(slots=True, eq=False)
class Entry:
    """One write.

    :param equal: HMAC of what it does: writes with the same go out one at a time.
    :param key: HMAC of staff id and Idempotency-Key; None without one.
    :param started: monotonic seconds at which it began.
    :param floor: the highest id of its resource that had been seen by then.
    :param sequence: the highest id of its resource that a new record had been seen to get by then.
    :param not_before: HOSP's clock cannot have shown less when it began, seconds since the epoch; None if unknown.
    :param steps: how often HOSP's clock was seen to have been set by then; None if that was another process.
    :param before: the record that it changes, as it was last seen before.
    :param sent: monotonic seconds at which HOSP could last have received its last try, None while there is none.
    :param pending: that try may be under way at HOSP yet: nothing has shown that it was carried out or never will be.
    :param told_unknown: a client was told that its outcome is unknown.
    :param handed_over: the answer was written whole to a client.
    :param lost: the client went while the answer was being written.
    :param repeated: it was sent again although the first try might have been carried out late.
    :param retry: the exchange that has joined it and waits for its answer.
    :param ended: monotonic seconds at which it was settled or its client told "unknown".
    :param names: what other workers know it by; None: they need not know of it.
    :param trusted: what other workers write can be seen, so that a look may tell this one's record from theirs.
    :param blind: it may have been sent long ago, and nobody knows when.
    :param record_name: the record that it changes, or that it made, as ``equality.record_name`` has it.
    :param made: it made that record.
    :param number: in the order in which they came.
    :param turn: its turn, where that cannot be told from its call any more.
    """

    reference: str
    equal: bytes = field(repr=False)
    exchange: Exchange = field(repr=False)
    started: float
    key: bytes | None = field(default=None, repr=False)
    floor: int | None = None
    sequence: int | None = None
    not_before: float | None = None
    steps: int | None = None
    before: Version | None = field(default=None, repr=False)
    sent: float | None = None
    pending: bool = False
    state: State = State.OPEN
    answer: Response | None = field(default=None, repr=False)
    record: str | None = None
    told_unknown: bool = False
    handed_over: bool = False
    lost: bool = False
    repeated: bool = False
    retry: Exchange | None = field(default=None, repr=False)
    ended: float | None = None
    names: Names | None = field(default=None, repr=False)
    trusted: bool = True
    blind: bool = False
    record_name: bytes | None = None
    made: bool = False
    number: int = 0
    turn: bytes | None = field(default=None, repr=False)
    _waiting: list[Deferred[None]] = field(factory=list, repr=False)

    @property
    def call(self) -> Call:
        assert self.exchange.call is not None
        return self.exchange.call

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    def settled(self) -> Deferred[None]:
        """Fires when it is open no more."""
        waiter: Deferred[None] = Deferred()
        if self.is_open:
            self._waiting.append(waiter)
        else:
            waiter.callback(None)
        return waiter

    def settle(self, state: State, now: float) -> None:
        """It is open no more."""
        self.state = state
        self.ended = now if self.ended is None else self.ended
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(None)


def has_effect(entry: Entry, state: str) -> bool:
    """Whether a write that comes to this state (a ``State``'s value) changed its record, or may have."""
    if state == State.ANSWERED.value:
        return entry.answer is not None and 200 <= entry.answer.status < 300
    return state in (State.FOUND.value, State.GIVEN_UP.value)


def _mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, hashlib.sha256)


class Entries:
    """All of them.

    :param key: key of the HMAC under which equal writes are recognised; no body is kept for it.
    :param reference: makes the reference of an entry.
    :param max_open: entries open at a time, waiting ones included.
    :param window_s: seconds for which an equal write counts as the retry of one whose client got no answer; 0: never.
    :param former: such keys of other master keys: entries from before a rotation are recognised by them.
    """

    def __init__(
        self,
        clock: IReactorTime,
        key: bytes,
        reference: Callable[[], str],
        *,
        max_open: int = 1000,
        window_s: float = 120.0,
        former: Sequence[bytes] = (),
    ) -> None:
        self._clock = clock
        self._key = key
        self._former = tuple(former)
        self._reference = reference
        self._max_open = max_open
        self._window_s = window_s
        self._open = 0
        self._turns = TurnQueues(clock)
        self._recent: dict[bytes, list[Entry]] = {}
        self._by_record = ByRecord()
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return self._open

    def equal_of(self, exchange: Exchange, mac: Callable[[bytes], bytes] | None = None) -> bytes:
        """What makes writes equal: see ``equality.what``.

        :param mac: another than today's.
        """
        return (mac or self.mac)(what(exchange))

    def names_of(self, exchange: Exchange, key: bytes | None = None) -> Names:
        """What other workers know it by.

        :param key: staff id and Idempotency-Key.
        """
        equal, turn = digest(what(exchange)), digest(turn_of(exchange))
        return Names(turn, equal, None if key is None else digest(key))

    def mac(self, data: bytes) -> bytes:
        """A keyed hash of what may not be kept in the clear."""
        return _mac(self._key, data)

    @property
    def former_macs(self) -> tuple[Callable[[bytes], bytes], ...]:
        """What ``mac`` is, or was, under other master keys."""
        return tuple(partial(_mac, key) for key in self._former)

    def former_equals(self, exchange: Exchange) -> list[bytes]:
        """What ``equal_of`` gives under other master keys."""
        return [self.equal_of(exchange, mac) for mac in self.former_macs]

    def first_of(self, equal: bytes, former: Sequence[bytes] = ()) -> Entry | None:
        """The write that an equal one, arriving now without a key, is the retry of; None: it is a write of its own.

        It is a retry if the first one's client was told "unknown", or left before the answer was handed over; unless
        another retry of it waits already, for then both clients want theirs; and unless a later write to its record is
        under way: then its author wishes for it anew.

        :param former: its names under other master keys.
        """
        for name in former:
            self._rename(name, equal)
        self._prune(equal)
        for entry in self._recent.get(equal, ()):
            lost = entry.told_unknown or entry.lost or entry.exchange.client_gone
            waited_for = entry.retry is not None and not entry.retry.client_gone
            if (
                lost
                and not entry.handed_over
                and not waited_for
                and entry.key is None
                and not entry.exchange.own
                and not self._by_record.is_overtaken(entry)
            ):
                return entry
        return None

    def recent(self, equal: bytes, reference: str) -> Entry | None:
        """An entry that is remembered, by its reference."""
        return next((one for one in self._recent.get(equal, ()) if one.reference == reference), None)

    async def enter(self, exchange: Exchange, equal: bytes, key: bytes | None = None) -> Entry:
        """Open an entry when it is its turn.

        :raise OverCapacity: too many are open, or the turn did not come before the deadline. Nothing was sent.
        """
        if self._open >= self._max_open:
            raise OverCapacity("Too many writes are under way.")
        self._open += 1
        entry = Entry(exchange.reference or self._reference(), equal, exchange, self._clock.seconds(), key)
        entry.record_name = record_of(exchange)
        self._remember(entry)
        self._bound()
        try:
            await self._turns.take(turn_of(exchange), exchange.deadline)
        except Exception:
            self._open -= 1
            self.forget(entry)
            raise
        entry.started = self._clock.seconds()
        return entry

    def resume(self, entry: Entry) -> None:
        """An entry of an earlier process, open or lately closed."""
        if entry.exchange.call is not None and entry.equal in self.former_equals(entry.exchange):
            entry.equal = self.equal_of(entry.exchange)
        if entry.exchange.call is not None:
            # Of one that made a record only its row says which.
            entry.record_name = record_of(entry.exchange) or entry.record_name
        self._remember(entry)
        if entry.is_open:
            self._open += 1
            # Whoever is equal waits; should two of them be taken over, each looks for its own record at once.
            self._turns.hold(self._turn_of(entry))

    def leave(self, entry: Entry, state: State, *, keeps_turn: bool = False) -> None:
        """The entry is settled: the next of its turn may go.

        :param keeps_turn: not before ``give_turn``, for it may be under way at the upstream yet.
        """
        entry.settle(state, self._clock.seconds())
        if not keeps_turn:
            self.give_turn(entry)
        for other in self.overtaken_by(entry, state):
            self.forget(other)
        if entry.handed_over or entry.exchange.own:
            self.forget(entry)

    def keep_turn(self, entry: Entry) -> None:
        """Keep the turn of a settled entry of an earlier process, until ``give_turn``."""
        self._open += 1
        self._turns.hold(self._turn_of(entry))

    def give_turn(self, entry: Entry) -> None:
        """The next of its turn may go."""
        self._open -= 1
        self._turns.give(self._turn_of(entry))

    def overtaken_by(self, entry: Entry, state: State) -> list[Entry]:
        """Settled writes that are overtaken when this one is settled: to write the same again is no retry any more."""
        resource = entry.call.operation.resource
        if entry.record_name is None and resource is not None and entry.record is not None:
            entry.record_name, entry.made = record_name(resource, entry.record), True
            self._by_record.add(entry)
        others = self._by_record.overtaken_by(entry) if has_effect(entry, state.value) else []
        return [other for other in others if other.key is None]

    def settled_changes(self) -> list[Entry]:
        """Changes that are settled and whose answer nobody has yet."""
        return self._by_record.settled_changes()

    def tell_unknown(self, entry: Entry) -> None:
        """Its client is told that the outcome is unknown."""
        entry.told_unknown = True
        entry.state = State.UNKNOWN
        entry.ended = self._clock.seconds()

    def hand_over(self, entry: Entry) -> None:
        """Its answer was written whole to a client: an equal write is from now on a write of its own."""
        entry.handed_over = True
        if not entry.is_open:
            self.forget(entry)

    def tidy(self) -> None:
        """Forget what is out of its window."""
        for equal in list(self._recent):
            self._prune(equal)

    def _rename(self, former: bytes, equal: bytes) -> None:
        """Those that ended under a former name stand under today's; what is open got its name when it was resumed."""
        for entry in [each for each in self._recent.get(former, ()) if not each.is_open]:
            self.forget(entry)
            entry.equal = equal
            self._recent.setdefault(equal, []).append(entry)
            self._by_record.add(entry)

    def _prune(self, equal: bytes) -> None:
        now = self._clock.seconds()
        for entry in list(self._recent.get(equal, ())):
            if not entry.is_open and (entry.ended is None or now - entry.ended >= self._window_s):
                self.forget(entry)

    def _bound(self) -> None:
        """No more than ten times what may be open is remembered; the oldest that ended go first."""
        for equal in list(self._recent)[: max(0, len(self._recent) - 10 * self._max_open)]:
            for entry in list(self._recent.get(equal, ())):
                if not entry.is_open:
                    self.forget(entry)

    def _remember(self, entry: Entry) -> None:
        entry.number = next(self._numbers)
        self._recent.setdefault(entry.equal, []).append(entry)
        self._by_record.add(entry)

    def forget(self, entry: Entry) -> None:
        """An equal write is from now on a write of its own."""
        self._by_record.remove(entry)
        entries = self._recent.get(entry.equal, [])
        if entry in entries:
            entries.remove(entry)
        if not entries:
            self._recent.pop(entry.equal, None)

    def _turn_of(self, entry: Entry) -> bytes:
        return turn_of(entry.exchange) if entry.turn is None else entry.turn
