"""The ledger's SQL statements. They block: the ledger's thread runs them, one transaction for each group."""

from __future__ import annotations

import enum
import math
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import astuple, field, fields, frozen

KEEP_ANSWERS_S = 24 * 3600.0
"""Seconds for which a response is kept for its Idempotency-Key (the IETF draft leaves this to the server)."""
KEEP_ENTRIES_S = 7 * 24 * 3600.0
"""Seconds for which a client can ask what became of a write."""
MADE_BEFORE_S = 60.0
"""A record made up to this many seconds before a write began may, by its date, still be that write's."""
HIGHEST_ID = 2**53 - 1
"""A number above this is no id in a sequence: neither SQLite nor Redis's scripts compare it exactly."""


@frozen(slots=True)
class LedgerRow:
    """One entry on disk. See format.py for the columns."""

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


_NAMES = tuple(one.name for one in fields(LedgerRow))
_COLUMNS = ", ".join(_NAMES)


def _rows(cursor: Iterable[tuple[Any, ...]]) -> list[LedgerRow]:
    return [LedgerRow(**dict(zip(_NAMES, found, strict=True))) for found in cursor]


def enter(connection: sqlite3.Connection, rows: Sequence[LedgerRow], owner: str) -> None:
    """Insert entries for writes that begin."""
    keep_time(connection, max(row.entered for row in rows))
    places = ", ".join("?" * (len(_NAMES) + 1))
    connection.executemany(
        f"INSERT INTO entries ({_COLUMNS}, owner) VALUES ({places})",  # noqa: S608 - names of our own
        [(*astuple(row), owner) for row in rows],
    )


def mark(connection: sqlite3.Connection, reference: str, state: str) -> None:
    """Set the state of an entry that stays open; one that was settled meanwhile keeps its state."""
    connection.execute(
        "UPDATE entries SET state = ? WHERE reference = ? AND closed IS NULL", (state, reference)
    )


def close(
    connection: sqlite3.Connection,
    reference: str,
    state: str,
    record: str | None,
    answer: bytes | None,
    wall: float,
    *,
    keeper: str | None = None,
) -> None:
    """Settle an entry and wipe its call.

    :param wall: ledger time.
    :param keeper: the write may still be in flight at the upstream, and this process keeps its turn. Its call then
        stays until ``end_pending``, because it is needed to tell the turn.
    """
    pending = keeper is not None
    connection.execute(
        "UPDATE entries SET state = ?, record = COALESCE(?, record), answer = ?, closed = ?, pending = ?, "
        "owner = NULL, call = CASE WHEN ? THEN call ELSE NULL END WHERE reference = ?",
        (state, record, answer, wall, int(pending), int(pending), reference),
    )
    if pending:
        connection.execute("INSERT OR REPLACE INTO kept_turns VALUES (?, ?)", (reference, keeper))


def end_pending(connection: sqlite3.Connection, reference: str) -> None:
    """Note that a settled write is no longer in flight, and wipe its call."""
    connection.execute("UPDATE entries SET pending = 0, call = NULL WHERE reference = ?", (reference,))
    connection.execute("DELETE FROM kept_turns WHERE reference = ?", (reference,))


class TurnKeeper(enum.Enum):
    """Who keeps the turn of a settled write."""

    CALLER = "caller"
    SIBLING = "sibling"
    """Another process of this machine, which is alive."""
    NOBODY = "nobody"
    """The write is no longer in flight at the upstream."""


def keep_turn(
    connection: sqlite3.Connection, reference: str, owner: str, is_gone: Callable[[str], bool]
) -> TurnKeeper:
    """Find who keeps the turn of a settled write. If that process is dead, or unknown, the caller keeps it from now on.

    :param owner: the caller's name.
    :param is_gone: whether the process with this name is dead.
    """
    found = connection.execute(
        "SELECT kept_turns.owner FROM entries LEFT JOIN kept_turns USING (reference) "
        "WHERE reference = ? AND pending = 1 AND closed IS NOT NULL",
        (reference,),
    ).fetchone()
    if found is None:
        return TurnKeeper.NOBODY
    keeper = found[0]
    if keeper is not None and keeper != owner and not is_gone(keeper):
        return TurnKeeper.SIBLING
    connection.execute("INSERT OR REPLACE INTO kept_turns VALUES (?, ?)", (reference, owner))
    return TurnKeeper.CALLER


def is_changed_elsewhere(connection: sqlite3.Connection, resource: str, record: str, owner: str) -> bool:
    """Whether a change of a record by another owner is open, or settled and may still be in flight at the upstream.

    :param owner: the caller's name.
    """
    found = connection.execute(
        "SELECT 1 FROM entries WHERE owner IS NOT NULL AND owner != :owner AND kind = 'change' "
        "AND resource = :resource AND record = :record "
        "UNION ALL SELECT 1 FROM entries LEFT JOIN kept_turns USING (reference) "
        "WHERE pending = 1 AND closed IS NOT NULL AND kept_turns.owner IS NOT :owner AND kind = 'change' "
        "AND resource = :resource AND record = :record LIMIT 1",
        {"owner": owner, "resource": resource, "record": record},
    ).fetchone()
    return found is not None


def pending(connection: sqlite3.Connection) -> list[LedgerRow]:
    """Settled writes that may still be in flight at the upstream."""
    return _rows(
        connection.execute(f"SELECT {_COLUMNS} FROM entries WHERE pending = 1 AND closed IS NOT NULL")  # noqa: S608 - names of our own
    )


def sequences(connection: sqlite3.Connection, highest: int) -> list[tuple[str, int]]:
    """For each resource, the highest id that a write is known to have made.

    :param highest: ids above it are not part of the sequence.
    """
    return connection.execute(
        "SELECT resource, MAX(CAST(record AS INTEGER)) FROM entries WHERE kind = 'create' AND record IS NOT NULL "
        "AND resource IS NOT NULL AND CAST(record AS INTEGER) BETWEEN 1 AND ? GROUP BY resource",
        (highest,),
    ).fetchall()


def hand_over(connection: sqlite3.Connection, reference: str) -> None:
    """Note that the client has received the whole response. Without a key, wipe it: nobody will ask again."""
    connection.execute(
        "UPDATE entries SET handed_over = 1, answer = CASE WHEN key IS NULL THEN NULL ELSE answer END "
        "WHERE reference = ?",
        (reference,),
    )


def by_key(connection: sqlite3.Connection, key: bytes, wall: float) -> LedgerRow | None:
    """The entry under an Idempotency-Key that says most about the write's outcome, if it has not expired.

    There may be several: an entry that took another one over has the same start time.

    :param wall: ledger time.
    """
    found = _rows(
        connection.execute(
            f"SELECT {_COLUMNS} FROM entries WHERE key = ? AND (closed IS NULL OR closed > ?) "  # noqa: S608 - names of our own
            "ORDER BY state IN ('answered', 'found') DESC, closed IS NULL DESC, closed DESC, entered DESC LIMIT 1",
            (key, wall - KEEP_ANSWERS_S),
        )
    )
    return found[0] if found else None


def by_reference(connection: sqlite3.Connection, reference: str) -> LedgerRow | None:
    """The entry with this reference; None if there is none."""
    found = _rows(connection.execute(f"SELECT {_COLUMNS} FROM entries WHERE reference = ?", (reference,)))  # noqa: S608 - names of our own
    return found[0] if found else None


def in_doubt(
    connection: sqlite3.Connection, equal: bytes, since: float, known: Sequence[str] = ()
) -> str | None:
    """Reference of the last equal write without a key of which an equal one may be the retry.

    Its client was told that the outcome is unknown, or left; or it made a record, and nobody is known to have the
    response. A write that was given up is skipped if its record was changed to something else since: sending it again
    is then a new request.

    :param since: ledger time; writes that were settled before it are skipped.
    :param known: references of writes whose responses the caller knows better.
    """
    others = ", ".join("?" * len(known))
    found = connection.execute(
        "SELECT reference FROM entries AS first WHERE equal = ? AND (state IN ('unknown', 'given up') "  # noqa: S608 - only question marks
        "OR (state IN ('answered', 'found') AND kind = 'create' AND record IS NOT NULL "
        f"AND reference NOT IN ({others}))) AND key IS NULL AND handed_over = 0 "
        "AND (closed IS NULL OR closed > ?) "
        "AND NOT (state = 'given up' AND kind = 'change' AND EXISTS (SELECT 1 FROM entries AS later "
        "WHERE later.resource = first.resource AND later.record = first.record AND later.kind = 'change' "
        "AND later.equal != first.equal AND later.closed >= first.closed AND later.entered > first.entered "
        "AND later.state IN ('answered', 'found', 'given up'))) ORDER BY entered DESC LIMIT 1",
        (equal, *known, since),
    ).fetchone()
    return None if found is None else str(found[0])


def owners(connection: sqlite3.Connection) -> list[str]:
    """Names of all owners of open entries."""
    return [
        str(row[0])
        for row in connection.execute("SELECT DISTINCT owner FROM entries WHERE owner IS NOT NULL")
    ]


def take_over(connection: sqlite3.Connection, gone: str, owner: str) -> list[LedgerRow]:
    """Make a dead owner's open entries the caller's. Returns all open entries of the caller."""
    connection.execute("UPDATE entries SET owner = ? WHERE owner = ?", (owner, gone))
    return _rows(connection.execute(f"SELECT {_COLUMNS} FROM entries WHERE owner = ?", (owner,)))  # noqa: S608 - names of our own


def undelivered(connection: sqlite3.Connection, since: float) -> list[LedgerRow]:
    """Recently settled entries whose client never got the response: it may ask again.

    Changes too: a repeated deletion would get 404, and a repeated PATCH would undo what a colleague has written since.

    :param since: ledger time.
    """
    return _rows(
        connection.execute(
            f"SELECT {_COLUMNS} FROM entries WHERE closed > ? AND handed_over = 0 AND kind != 'screening'",  # noqa: S608 - names of our own
            (since,),
        )
    )


def keyed(connection: sqlite3.Connection, since: float, after: str, most: int) -> list[LedgerRow]:
    """Entries with an Idempotency-Key that were settled since a time, in order of reference.

    :param since: ledger time.
    :param after: the reference to continue after.
    :param most: maximum number of entries.
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
    """Records above an id that writes made or changed, if those writes were open at ``since`` or came later.

    Records made up to MADE_BEFORE_S earlier are included: by its date, such a record may have been made later.

    :param since: ledger time.
    """
    return connection.execute(
        "SELECT kind, record, reference FROM entries WHERE resource = ? AND record IS NOT NULL "
        "AND CAST(record AS INTEGER) > ? "
        "AND (closed IS NULL OR closed >= ? - CASE kind WHEN 'create' THEN ? ELSE 0 END)",
        (resource, above, since, MADE_BEFORE_S),
    ).fetchall()


def time(connection: sqlite3.Connection) -> float | None:
    """The ledger's time when it was last stored; None if the file has none (an earlier version wrote it)."""
    row = connection.execute("SELECT value FROM about WHERE name = 'time'").fetchone()
    try:
        found = None if row is None else float(row[0])
    except ValueError:
        return None
    return found if found is None or math.isfinite(found) else None


def keep_time(connection: sqlite3.Connection, now: float) -> None:
    """Store the ledger's time. It never goes back."""
    connection.execute(
        "INSERT INTO about VALUES ('time', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value "
        "WHERE CAST(value AS REAL) < CAST(excluded.value AS REAL)",
        (repr(now),),
    )


def tidy(connection: sqlite3.Connection, wall: float, window_s: float) -> None:
    """Wipe responses that nobody may ask for any more, and delete entries that nobody will ask about.

    :param wall: ledger time.
    :param window_s: seconds to keep the response of an entry without a key.
    """
    keep_time(connection, wall)
    connection.execute(
        "UPDATE entries SET answer = NULL WHERE answer IS NOT NULL AND state != 'refused' "
        "AND closed < CASE WHEN key IS NULL THEN ? ELSE ? END",
        (wall - window_s, wall - KEEP_ANSWERS_S),
    )
    # The process died before it ended this entry, and none has started since.
    connection.execute(
        "UPDATE entries SET call = NULL WHERE pending = 1 AND call IS NOT NULL AND closed < ?",
        (wall - KEEP_ANSWERS_S,),
    )
    connection.execute("DELETE FROM entries WHERE closed < ?", (wall - KEEP_ENTRIES_S,))
    # An earlier version ends the time of a write without looking here.
    connection.execute(
        "DELETE FROM kept_turns WHERE reference NOT IN (SELECT reference FROM entries WHERE pending = 1)"
    )
