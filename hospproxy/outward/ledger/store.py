"""The ledger's statements. They block: they run in the ledger's own thread, a transaction for each group."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import astuple, field, fields, frozen

KEEP_ANSWERS_S = 24 * 3600.0
"""Seconds for which an answer is kept for its Idempotency-Key (the draft leaves it to the server)."""
KEEP_ENTRIES_S = 7 * 24 * 3600.0
"""Seconds for which it can be asked what became of a write."""
MADE_BEFORE_S = 60.0
"""Seconds before a write began at which a record may have been made that by its date could be that write's."""
HIGHEST_ID = 2**53 - 1
"""A number above it is no place in a sequence: neither SQLite nor Redis's scripts can compare it exactly."""


@frozen(slots=True)
class Row:
    """One entry as it stands on disk. See format.py for the columns."""

    reference: str
    kind: str
    state: str
    resource: str | None
    equal: bytes = field(repr=False)
    key: bytes | None = field(repr=False)
    author: bytes | None = field(repr=False)
    floor: int | None
    record: str | None
    entered: float
    closed: float | None
    handed_over: bool = field(converter=bool)
    call: bytes | None = field(repr=False)
    answer: bytes | None = field(repr=False)
    names: bytes | None = field(default=None, repr=False)
    not_before: float | None = None
    sequence: int | None = None
    pending: bool = field(default=False, converter=bool)


_NAMES = tuple(one.name for one in fields(Row))
_COLUMNS = ", ".join(_NAMES)


def _rows(cursor: Iterable[tuple[Any, ...]]) -> list[Row]:
    return [Row(**dict(zip(_NAMES, found, strict=True))) for found in cursor]


def enter(connection: sqlite3.Connection, rows: Sequence[Row], owner: str) -> None:
    """Writes begin."""
    keep_time(connection, max(row.entered for row in rows))
    places = ", ".join("?" * (len(_NAMES) + 1))
    connection.executemany(
        f"INSERT INTO entries ({_COLUMNS}, owner) VALUES ({places})",  # noqa: S608 - names of our own
        [(*astuple(row), owner) for row in rows],
    )


def mark(connection: sqlite3.Connection, reference: str, state: str) -> None:
    """It is still open, in another state."""
    connection.execute("UPDATE entries SET state = ? WHERE reference = ?", (state, reference))


def close(
    connection: sqlite3.Connection,
    reference: str,
    state: str,
    record: str | None,
    answer: bytes | None,
    wall: float,
    *,
    pending: bool = False,
) -> None:
    """It is settled: what it was made with is wiped.

    :param pending: it may be under way at the upstream yet. Its call stays until ``end_pending``, for its turn is
        told from that.
    """
    connection.execute(
        "UPDATE entries SET state = ?, record = COALESCE(?, record), answer = ?, closed = ?, pending = ?, "
        "owner = NULL, call = CASE WHEN ? THEN call ELSE NULL END WHERE reference = ?",
        (state, record, answer, wall, int(pending), int(pending), reference),
    )


def end_pending(connection: sqlite3.Connection, reference: str) -> None:
    """A settled write is under way no more."""
    connection.execute("UPDATE entries SET pending = 0, call = NULL WHERE reference = ?", (reference,))


def pending(connection: sqlite3.Connection) -> list[Row]:
    """Settled writes that may be under way at the upstream yet."""
    return _rows(
        connection.execute(f"SELECT {_COLUMNS} FROM entries WHERE pending = 1 AND closed IS NOT NULL")  # noqa: S608 - names of our own
    )


def sequences(connection: sqlite3.Connection, highest: int) -> list[tuple[str, int]]:
    """For each resource the highest id that a write is known to have made.

    :param highest: ids above it are out of order.
    """
    return connection.execute(
        "SELECT resource, MAX(CAST(record AS INTEGER)) FROM entries WHERE kind = 'create' AND record IS NOT NULL "
        "AND resource IS NOT NULL AND CAST(record AS INTEGER) BETWEEN 1 AND ? GROUP BY resource",
        (highest,),
    ).fetchall()


def hand_over(connection: sqlite3.Connection, reference: str) -> None:
    """Its answer was written whole to the client: without a key nobody will ask for it again."""
    connection.execute(
        "UPDATE entries SET handed_over = 1, answer = CASE WHEN key IS NULL THEN NULL ELSE answer END "
        "WHERE reference = ?",
        (reference,),
    )


def by_key(connection: sqlite3.Connection, key: bytes, wall: float) -> Row | None:
    """The entry under an Idempotency-Key of which most is known, as long as it is kept.

    Of several one took another over, and says of itself that it began when that did.
    """
    found = _rows(
        connection.execute(
            f"SELECT {_COLUMNS} FROM entries WHERE key = ? AND (closed IS NULL OR closed > ?) "  # noqa: S608 - names of our own
            "ORDER BY state IN ('answered', 'found') DESC, closed IS NULL DESC, closed DESC, entered DESC LIMIT 1",
            (key, wall - KEEP_ANSWERS_S),
        )
    )
    return found[0] if found else None


def by_reference(connection: sqlite3.Connection, reference: str) -> Row | None:
    """One entry."""
    found = _rows(connection.execute(f"SELECT {_COLUMNS} FROM entries WHERE reference = ?", (reference,)))  # noqa: S608 - names of our own
    return found[0] if found else None


def in_doubt(connection: sqlite3.Connection, equal: bytes, since: float) -> str | None:
    """The reference of the last write without a key that is equal and whose client was told that it is unknown.

    One that was given up, and whose record was changed to something else since, is passed over: to write it again is
    a new wish.

    :param since: ledger time; those that were given up before it are passed over.
    """
    found = connection.execute(
        "SELECT reference FROM entries AS first WHERE equal = ? AND state IN ('unknown', 'given up') "
        "AND key IS NULL AND handed_over = 0 AND (closed IS NULL OR closed > ?) "
        "AND NOT (state = 'given up' AND kind = 'change' AND EXISTS (SELECT 1 FROM entries AS later "
        "WHERE later.resource = first.resource AND later.record = first.record AND later.kind = 'change' "
        "AND later.equal != first.equal AND later.closed >= first.closed AND later.entered > first.entered "
        "AND later.state IN ('answered', 'found', 'given up'))) ORDER BY entered DESC LIMIT 1",
        (equal, since),
    ).fetchone()
    return None if found is None else str(found[0])


def owners(connection: sqlite3.Connection) -> list[str]:
    """Everybody who owns open entries."""
    return [
        str(row[0])
        for row in connection.execute("SELECT DISTINCT owner FROM entries WHERE owner IS NOT NULL")
    ]


def take_over(connection: sqlite3.Connection, gone: str, owner: str) -> list[Row]:
    """Make a dead owner's open entries one's own."""
    connection.execute("UPDATE entries SET owner = ? WHERE owner = ?", (owner, gone))
    return _rows(connection.execute(f"SELECT {_COLUMNS} FROM entries WHERE owner = ?", (owner,)))  # noqa: S608 - names of our own


def undelivered(connection: sqlite3.Connection, since: float) -> list[Row]:
    """Entries that were closed lately and whose client never got the answer: it may ask again.

    Changes too: a deletion sent anew would be told 404, a PATCH would undo what a colleague has written since.
    """
    return _rows(
        connection.execute(
            f"SELECT {_COLUMNS} FROM entries WHERE closed > ? AND handed_over = 0 AND kind != 'screening'",  # noqa: S608 - names of our own
            (since,),
        )
    )


def keyed(connection: sqlite3.Connection, since: float, after: str, most: int) -> list[Row]:
    """Entries under an Idempotency-Key that were settled lately, in the order of their references.

    :param after: the reference after which to go on.
    """
    return _rows(
        connection.execute(
            f"SELECT {_COLUMNS} FROM entries WHERE key IS NOT NULL AND names IS NOT NULL "  # noqa: S608 - names of our own
            "AND closed > ? AND reference > ? ORDER BY reference LIMIT ?",
            (since, after, most),
        )
    )


def later_records(
    connection: sqlite3.Connection, resource: str, above: int, since: float
) -> list[tuple[str, str, str]]:
    """Records above an id that writes made or changed, as far as those were open at a moment or came after it.

    Those that were made just before it are named, too: by its date such a record may be one that came after.

    :param since: ledger time.
    """
    return connection.execute(
        "SELECT kind, record, reference FROM entries WHERE resource = ? AND record IS NOT NULL "
        "AND CAST(record AS INTEGER) > ? "
        "AND (closed IS NULL OR closed >= ? - CASE kind WHEN 'create' THEN ? ELSE 0 END)",
        (resource, above, since, MADE_BEFORE_S),
    ).fetchall()


def time(connection: sqlite3.Connection) -> float | None:
    """The ledger's time when it was last kept; None in a file of a version that kept none."""
    row = connection.execute("SELECT value FROM about WHERE name = 'time'").fetchone()
    try:
        found = None if row is None else float(row[0])
    except ValueError:
        return None
    return found if found is None or math.isfinite(found) else None


def keep_time(connection: sqlite3.Connection, now: float) -> None:
    """Keep the ledger's time. It never goes back."""
    connection.execute(
        "INSERT INTO about VALUES ('time', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value "
        "WHERE CAST(value AS REAL) < CAST(excluded.value AS REAL)",
        (repr(now),),
    )


def tidy(connection: sqlite3.Connection, wall: float, window_s: float) -> None:
    """Wipe answers that nobody may ask for any more, and forget entries that nobody will ask about.

    :param wall: ledger time.
    """
    keep_time(connection, wall)
    connection.execute(
        "UPDATE entries SET answer = NULL WHERE answer IS NOT NULL AND state != 'refused' "
        "AND closed < CASE WHEN key IS NULL THEN ? ELSE ? END",
        (wall - window_s, wall - KEEP_ANSWERS_S),
    )
    # A process that died before it could end this one, and none has started since.
    connection.execute(
        "UPDATE entries SET call = NULL WHERE pending = 1 AND call IS NOT NULL AND closed < ?",
        (wall - KEEP_ANSWERS_S,),
    )
    connection.execute("DELETE FROM entries WHERE closed < ?", (wall - KEEP_ENTRIES_S,))
