"""The copy on disk: applies what responses say, in groups. Everything here blocks; one thread of the process runs it.

Several processes of a machine may have the files open at the same time. What is known of a record is read again in each
transaction, so they need to tell each other nothing.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import field, frozen

from ..exchange.words import CopyEvent
from ..keys.encryption import Unsealable
from ..process.sqlite_file import transaction
from . import rules
from .files import bytes_of, open_files
from .records import CopiedRecord, Shapes
from .rules import RecordState, Sighting, Verdict
from .sealing import KeyRing, RecordKey, place_of

BATCH: Final = 500
"""Keys that are sealed again in one transaction."""

EXTENT_S: Final = 60.0
"""Seconds after which the records are counted again."""

_WORDS: Final[dict[Verdict, CopyEvent]] = {
    Verdict.NEW: "new",
    Verdict.CHANGED: "changed",
    Verdict.CONFIRMED: "confirmed",
    Verdict.MISSING: "missing",
    Verdict.DELETED: "deleted",
    Verdict.LATE: "late",
    Verdict.UNDECIDED: "undecided",
}


@frozen(slots=True)
class Answer:
    """One response of HOSP, as far as the copy needs it.

    :param record: id of the record that it is about; None: of those in its body.
    :param body: holds records; empty if ``state`` is not PRESENT.
    :param began: seconds on the clock since boot at which the request was sent to HOSP.
    :param ended: seconds on that clock at which the response was complete.
    :param wall: seconds since the epoch at which it was complete.
    """

    resource: str
    state: RecordState
    record: str | None
    body: bytes = field(repr=False)
    began: float
    ended: float
    wall: float


@frozen(slots=True)
class CopyExtent:
    """How much the copy knows of HOSP, and how old that is.

    :param records: that are present or missing.
    :param oldest: seconds since the epoch at which the one of them was last seen that was not seen for longest.
    """

    records: int = 0
    oldest: float | None = None


@frozen(slots=True)
class Applied:
    """What became of a group of responses.

    :param events: how many records had which outcome.
    :param bytes: that the copy takes now.
    :param extent: how much is known; None if it was counted a moment ago.
    """

    events: Counter[CopyEvent]
    bytes: int
    extent: CopyExtent | None = None


@frozen(slots=True)
class _Row:
    sighting: Sighting
    number: int
    since: float | None


class CopyStore:
    """The connection to the files of the copy.

    :param random: makes this many random bytes.
    :param since_boot: monotonic seconds on which all processes of the machine agree.
    :param wall: seconds since the epoch.
    """

    def __init__(
        self,
        folder: Path,
        ring: KeyRing,
        shapes: Shapes,
        *,
        random: Callable[[int], bytes],
        since_boot: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._ring = ring
        self._shapes = shapes
        self._random = random
        self._since_boot = since_boot
        self._connection: sqlite3.Connection | None = None
        self._counted = -EXTENT_S

    def open(self) -> int:
        """Open the files, remove what a crash left of forgotten records, and seal keys with the current master key.

        :return: bytes that the copy takes.
        :raise CopyUnusable: they cannot be used as they are.
        :raise sqlite3.OperationalError: not now.
        :raise OSError: not now.
        """
        connection = open_files(
            self._folder, self._ring, lambda size: self._random(size).hex(), self._since_boot
        )
        try:
            sweep(connection)
            _seal_again(connection, self._ring)
            found = bytes_of(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return found

    def close(self) -> None:
        """Close the files; they stay as they are."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def apply(self, answers: Sequence[Answer], max_bytes: int) -> Applied:
        """Apply a group of responses in one transaction, or none of them.

        :param max_bytes: a copy that takes more stores no new states; it goes on with the rest.
        :raise sqlite3.Error: nothing was changed.
        """
        connection = self._connection
        if connection is None:
            raise sqlite3.OperationalError("the copy is not open")
        events: Counter[CopyEvent] = Counter()
        with transaction(connection):
            is_full = bytes_of(connection) >= max_bytes
            offset = float(_about(connection, "offset", "0"))
            group = _Group(connection, self._ring, self._shapes, offset, is_full)
            for answer in answers:
                events.update(group.events(answer))
            highest = offset + max((answer.ended for answer in answers), default=0.0)
            if answers and highest > float(_about(connection, "highest", "0")):
                connection.execute("INSERT OR REPLACE INTO about VALUES ('highest', ?)", (repr(highest),))
            taken = bytes_of(connection)
        return Applied(events, taken, self._extent(connection))

    def _extent(self, connection: sqlite3.Connection) -> CopyExtent | None:
        now = self._since_boot()
        if now < self._counted + EXTENT_S:
            return None
        self._counted = now
        row = connection.execute(
            "SELECT count(*), min(seen) FROM records WHERE state != 'deleted'"
        ).fetchone()
        return CopyExtent(*row)


def sweep(connection: sqlite3.Connection) -> int:
    """Remove what is left of forgotten records: a crash came after their keys were erased.

    :return: how many records were removed.
    """
    with transaction(connection):
        forgotten = "place IN (SELECT place FROM keys.keys WHERE key IS NULL)"
        connection.execute(f"DELETE FROM states WHERE {forgotten}")  # noqa: S608 - no values in it
        return connection.execute(f"DELETE FROM records WHERE {forgotten}").rowcount  # noqa: S608


def _seal_again(connection: sqlite3.Connection, ring: KeyRing) -> None:
    """Seal all keys with the current master key, then note that they are."""
    after: str | None = ""
    while after is not None:
        rows = connection.execute(
            "SELECT place, key FROM keys.keys WHERE place > ? AND key IS NOT NULL ORDER BY place LIMIT ?",
            (after, BATCH),
        ).fetchall()
        old = [(place, bytes(key)) for place, key in rows if not ring.is_current(bytes(key))]
        with transaction(connection):
            for place, key in old:
                with suppress(Unsealable):  # a damaged key, which verify names
                    again = ring.seal_again(key, place)
                    # Compared, because another process may forget the record meanwhile.
                    connection.execute(
                        "UPDATE keys.keys SET key = ? WHERE place = ? AND key = ?", (again, place, key)
                    )
        after = rows[-1][0] if len(rows) == BATCH else None
    row = connection.execute("SELECT value FROM keys.witness").fetchone()
    if row is None or not ring.is_current(bytes(row[0])):
        connection.execute("INSERT OR REPLACE INTO keys.witness VALUES (1, ?)", (ring.witness(),))


def _about(connection: sqlite3.Connection, name: str, default: str) -> str:
    row = connection.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
    return default if row is None else str(row[0])


class _Group:
    """Applies responses within a transaction.

    :param offset: from the clock since boot to the moments in the file.
    :param is_full: no new states are stored.
    """

    def __init__(
        self, connection: sqlite3.Connection, ring: KeyRing, shapes: Shapes, offset: float, is_full: bool
    ) -> None:
        self._connection = connection
        self._ring = ring
        self._shapes = shapes
        self._offset = offset
        self._is_full = is_full

    def events(self, answer: Answer) -> list[CopyEvent]:
        """Apply one response, and say what became of its records."""
        if answer.state is not RecordState.PRESENT:
            one = "" if answer.record is None else answer.record
            return self._seen(answer, one, None)
        found: list[CopyEvent] = []
        for record in self._shapes.records(answer.resource, answer.body):
            if record is None or answer.record not in (None, record.id):
                found.append("incomplete")
            else:
                found += self._seen(answer, record.id, record)
        return found

    def _seen(self, answer: Answer, record_id: str, record: CopiedRecord | None) -> list[CopyEvent]:
        place = place_of(answer.resource, record_id)
        stored = self._connection.execute("SELECT key FROM keys.keys WHERE place = ?", (place,)).fetchone()
        if stored is not None and stored[0] is None:
            return ["forgotten"]
        new_key: bytes | None = None
        if stored is None:
            key, new_key = self._ring.make(place)
            # A crash between the commits of the two files can leave states whose key was not stored.
            self._connection.execute("DELETE FROM states WHERE place = ?", (place,))
            self._connection.execute("DELETE FROM records WHERE place = ?", (place,))
        else:
            try:
                key = self._ring.open(bytes(stored[0]), place)
            except Unsealable:
                return ["unreadable"]
        row = self._row(place)
        sighting = Sighting(
            answer.state,
            self._offset + answer.began,
            self._offset + answer.ended,
            None if record is None else record.digest(key.for_digests),
            None if record is None else record.updated,
        )
        verdict = rules.judge(None if row is None else row.sighting, sighting)
        if verdict in (Verdict.NEW, Verdict.CHANGED) and self._is_full:
            return ["full"]
        after = rules.accepted(None if row is None else row.sighting, sighting, verdict)
        if after is not None:
            if new_key is not None:
                self._connection.execute("INSERT INTO keys.keys VALUES (?, ?, NULL)", (place, new_key))
            number = self._state(place, key, row, verdict, answer, record)
            self._connection.execute(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    place, answer.resource, record_id, after.state.value, number, after.digest, after.updated,
                    after.began, after.ended, answer.wall,
                ),
            )  # fmt: skip
        word = _WORDS.get(verdict)
        return [] if word is None else [word]

    def _state(
        self,
        place: str,
        key: RecordKey,
        row: _Row | None,
        verdict: Verdict,
        answer: Answer,
        record: CopiedRecord | None,
    ) -> int:
        """Add a state to the record's history, if the sighting shows one; return the number of the last."""
        number = 0 if row is None else row.number
        if verdict not in (Verdict.NEW, Verdict.CHANGED, Verdict.DELETED):
            return number
        before = None if row is None else row.since
        if record is None:
            kind, content, since = "deleted", None, rules.holds_since(answer.wall, None, before, None)
        else:
            kind, content = "shown", key.seal(record.content, number + 1)
            last = None if row is None else row.sighting.updated
            since = rules.holds_since(answer.wall, record.updated, before, last)
        self._connection.execute(
            "INSERT INTO states VALUES (?, ?, ?, ?, ?, ?)",
            (place, number + 1, kind, since, answer.wall, content),
        )
        return number + 1

    def _row(self, place: str) -> _Row | None:
        found = self._connection.execute(
            "SELECT state, began, ended, digest, updated, number, (SELECT since FROM states"
            " WHERE states.place = records.place AND states.number = records.number)"
            " FROM records WHERE place = ?",
            (place,),
        ).fetchone()
        if found is None:
            return None
        state, began, ended, digest, updated, number, since = found
        sighting = Sighting(
            RecordState(state), began, ended, None if digest is None else bytes(digest), updated
        )
        return _Row(sighting, number, since)
