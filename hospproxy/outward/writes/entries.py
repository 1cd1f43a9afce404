"""Writes that are open or have just ended, in memory: whose turn it is, and which write an equal one is the retry of.

Bounded by the number of open writes and by a time window.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections.abc import Callable, Sequence
from functools import partial

from twisted.internet.interfaces import IReactorTime

from ...exchange.exchange import Identified
from ...http.errors import OverCapacity
from ...options.sections import WritesSettings
from .entry import WriteEntry, WriteNames, WriteState, has_effect
from .equality import digest, record_name, record_of, turn_of, what
from .overtaken import EntriesByRecord
from .turn_queues import TurnQueues


def _mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, hashlib.sha256)


class WriteEntries:
    """All entries of this process.

    :param key: HMAC key that identifies equal writes, so that no body is stored for it.
    :param reference: makes the reference of an entry.
    :param settings: open entries, including those that wait for their turn, are at most ``max_open``.
    :param former: HMAC keys of former master keys. They identify entries from before a key rotation.
    """

    def __init__(
        self,
        clock: IReactorTime,
        key: bytes,
        reference: Callable[[], str],
        settings: WritesSettings,
        *,
        former: Sequence[bytes] = (),
    ) -> None:
        self._clock = clock
        self._key = key
        self._former = tuple(former)
        self._reference = reference
        self._max_open = settings.max_open
        self._window_s = settings.resubmit_window_s
        self._open = 0
        self._turns = TurnQueues(clock)
        self._recent: dict[bytes, list[WriteEntry]] = {}
        self._by_record = EntriesByRecord()
        self._asked: dict[bytes, float] = {}
        self._numbers = itertools.count(1)

    def reload(self, max_open: int) -> None:
        """Apply a changed option; open writes stay open."""
        self._max_open = max_open

    def __len__(self) -> int:
        return self._open

    def equal_of(self, exchange: Identified, mac: Callable[[bytes], bytes] | None = None) -> bytes:
        """HMAC of what a write does: see ``equality.what``.

        :param mac: uses another HMAC than today's.
        """
        return (mac or self.mac)(what(exchange))

    def names_of(self, exchange: Identified, key: bytes | None = None) -> WriteNames:
        """Names of a write among other workers.

        :param key: staff id and Idempotency-Key.
        """
        equal, turn = digest(what(exchange)), digest(turn_of(exchange))
        return WriteNames(turn, equal, None if key is None else digest(key))

    def mac(self, data: bytes) -> bytes:
        """A keyed hash, for data that may not be stored in the clear."""
        return _mac(self._key, data)

    @property
    def former_macs(self) -> tuple[Callable[[bytes], bytes], ...]:
        """``mac`` under the other master keys."""
        return tuple(partial(_mac, key) for key in self._former)

    def former_equals(self, exchange: Identified) -> list[bytes]:
        """``equal_of`` under the other master keys."""
        return [self.equal_of(exchange, mac) for mac in self.former_macs]

    def first_of(self, equal: bytes, former: Sequence[bytes] = ()) -> WriteEntry | None:
        """The write that an equal one, arriving now without a key, retries; None: the new one is a separate write.

        It is a retry if the first one's client was told "unknown", or left before the response was handed over. It is
        not if another retry is waiting already, because then both clients want their own write; or if a later write to
        the record is open, because then the author wants the old content again.

        :param former: HMACs of the new write under the other master keys.
        """
        for name in former:
            self._rename(name, equal)
        self._prune(equal)
        # An absent one has stored nothing. After a restart several may be remembered: the client asked again and again.
        for entry in sorted(self._recent.get(equal, ()), key=lambda each: each.state is WriteState.ABSENT):
            lost = entry.told_unknown or entry.lost or entry.exchange.presence.gone
            waited_for = entry.retry is not None and not entry.retry.presence.gone
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

    def was_asked_again(self, exchange: Identified, equal: bytes) -> bool:
        """Whether an equal write, its retry, came after its client had left. Call it for each write without a key."""
        if (
            exchange.presence.left_at is not None
            and self._asked.get(equal, exchange.presence.left_at) > exchange.presence.left_at
        ):
            return True
        self._asked[equal] = max(self._asked.pop(equal, 0.0), exchange.arrived)
        if len(self._asked) > 10 * self._max_open:
            del self._asked[next(iter(self._asked))]
        return False

    def recent(self, equal: bytes, reference: str) -> WriteEntry | None:
        """An entry that is still remembered, by its reference."""
        return next((one for one in self._recent.get(equal, ()) if one.reference == reference), None)

    def references_of(self, equal: bytes) -> list[str]:
        """References of the equal writes that are still remembered, at most 100, the newest."""
        return [one.reference for one in self._recent.get(equal, ())[-100:]]

    async def enter(self, exchange: Identified, equal: bytes, key: bytes | None = None) -> WriteEntry:
        """Open an entry, and wait for its turn.

        :raise OverCapacity: too many are open, or the turn did not come before the deadline. Nothing was sent.
        """
        if self._open >= self._max_open:
            raise OverCapacity("Too many writes are in progress; nothing was sent.")
        self._open += 1
        entry = WriteEntry(
            exchange.trace.reference or self._reference(), equal, exchange, self._clock.seconds(), key
        )
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

    def resume(self, entry: WriteEntry) -> None:
        """Add an entry of an earlier process that is open or was recently closed."""
        if entry.is_readable and entry.equal in self.former_equals(entry.exchange):
            entry.equal = self.equal_of(entry.exchange)
        if entry.is_readable:
            # The row of a write that made a record is the only source of its name.
            entry.record_name = record_of(entry.exchange) or entry.record_name
        self._remember(entry)
        if entry.is_open:
            self._open += 1
            # Equal writes wait. If two equal entries are taken over, each looks for its record at once.
            self._turns.hold(self._turn_of(entry))

    def leave(self, entry: WriteEntry, state: WriteState, *, keeps_turn: bool = False) -> None:
        """An entry is settled: pass its turn on.

        :param keeps_turn: keep the turn until ``give_turn``, because the upstream may still carry the write out.
        """
        entry.settle(state, self._clock.seconds())
        if not keeps_turn:
            self.give_turn(entry)
        for other in self.overtaken_by(entry, state):
            self.forget(other)
        if entry.handed_over or entry.exchange.own:
            self.forget(entry)

    def keep_turn(self, entry: WriteEntry) -> None:
        """Hold the turn of a settled entry of an earlier process until ``give_turn``."""
        self._open += 1
        self._turns.hold(self._turn_of(entry))

    def give_turn(self, entry: WriteEntry) -> None:
        """Pass the entry's turn on to the next write."""
        self._open -= 1
        self._turns.give(self._turn_of(entry))

    def overtaken_by(self, entry: WriteEntry, state: WriteState) -> list[WriteEntry]:
        """Settled writes that this one overtakes when it settles: an equal write is then no longer their retry."""
        resource = entry.call.operation.resource
        if entry.record_name is None and resource is not None and entry.record is not None:
            entry.record_name, entry.made = record_name(resource, entry.record), True
            self._by_record.add(entry)
        others = self._by_record.overtaken_by(entry) if has_effect(entry, state.value) else []
        return [other for other in others if other.key is None]

    def settled_changes(self) -> list[WriteEntry]:
        """Settled changes whose response no client has received yet."""
        return self._by_record.settled_changes()

    def tell_unknown(self, entry: WriteEntry) -> None:
        """Note that the client is told "unknown"."""
        entry.told_unknown = True
        entry.state = WriteState.UNKNOWN
        entry.ended = self._clock.seconds()

    def hand_over(self, entry: WriteEntry) -> None:
        """A client has received the whole response: an equal write is a separate write from now on."""
        entry.handed_over = True
        if not entry.is_open:
            self.forget(entry)

    def tidy(self) -> None:
        """Forget entries older than the window."""
        for equal in list(self._recent):
            self._prune(equal)

    def _rename(self, former: bytes, equal: bytes) -> None:
        """Move ended entries from a former key's HMAC to today's. Open ones were moved when they were resumed."""
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
        """Remember at most ten times ``max_open`` entries; forget the oldest ended ones first."""
        for equal in list(self._recent)[: max(0, len(self._recent) - 10 * self._max_open)]:
            for entry in list(self._recent.get(equal, ())):
                if not entry.is_open:
                    self.forget(entry)

    def _remember(self, entry: WriteEntry) -> None:
        entry.number = next(self._numbers)
        self._recent.setdefault(entry.equal, []).append(entry)
        self._by_record.add(entry)

    def forget(self, entry: WriteEntry) -> None:
        """Forget an entry: an equal write is a separate write from now on."""
        self._by_record.remove(entry)
        entries = self._recent.get(entry.equal, [])
        if entry in entries:
            entries.remove(entry)
        if not entries:
            self._recent.pop(entry.equal, None)

    def _turn_of(self, entry: WriteEntry) -> bytes:
        return turn_of(entry.exchange) if entry.turn is None else entry.turn
