"""What the commands read from the copy: figures, the records of one day, what is damaged; and how one is forgotten.

Everything here blocks. The proxy may be running meanwhile: a read sees the copy as it is when it begins.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

import msgspec
from attrs import field, frozen

from ..keys.encryption import Unsealable
from ..process.sqlite_file import transaction
from .files import KEYS, RECORDS
from .records import NotWhole, ResourceShape, Shapes, moment_of
from .sealing import KeyRing, place_of

_HIGHEST: Final = 2**53 - 1
"""A number above this is no id in a sequence."""
_NUMBER: Final = (
    f"id NOT GLOB '*[^0-9]*' AND length(id) <= 16 AND CAST(id AS INTEGER) BETWEEN 1 AND {_HIGHEST}"
)
_NOT_FORGOTTEN: Final = "(k.place IS NULL OR k.key IS NOT NULL)"
"""Of a forgotten record something may be left for a moment, or after a crash: it is neither shown nor damaged."""
_ORDER: Final = "ORDER BY r.resource, length(r.id), r.id"


@frozen(slots=True)
class ResourceFigures:
    """How much of one resource is in the copy.

    :param missing: records that HOSP did not find for somebody, and that nobody has seen since.
    :param states: of all records together.
    :param gaps: ids up to the highest known one that were never seen; None if ids do not ascend. HOSP may have deleted
        some before the copy began.
    :param oldest: seconds since the epoch at which the record was last seen that was not seen for longest, among those
        that are present or missing; None if there is none.
    """

    resource: str
    present: int
    missing: int
    deleted: int
    forgotten: int
    states: int
    gaps: int | None
    oldest: float | None


@frozen(slots=True)
class RecordAt:
    """A record as it was at one moment.

    :param state: "present"; "missing" only in what holds now.
    :param since: seconds since the epoch from which this state holds.
    :param seen: seconds since the epoch at which HOSP first showed it.
    :param content: JSON; None if it cannot be read.
    """

    resource: str
    id: str
    state: str
    since: float
    seen: float
    content: bytes | None = field(repr=False)


@frozen(slots=True)
class Forgotten:
    """What ``forget`` has erased, and whether it is off the disk.

    :param states: that were erased.
    :param before: it had been forgotten earlier.
    :param is_wiped: the write-ahead logs are empty too; if not, the next command or restart empties them.
    """

    states: int
    before: bool
    is_wiped: bool


def figures(connection: sqlite3.Connection, shapes: Shapes) -> list[ResourceFigures]:
    """Count what is known of each resource that the contract marks."""
    return [_figures(connection, shape) for shape in shapes.by_name.values()]


def _figures(connection: sqlite3.Connection, shape: ResourceShape) -> ResourceFigures:
    name = shape.resource.name
    counts = dict(
        connection.execute("SELECT state, count(*) FROM records WHERE resource = ? GROUP BY state", (name,))
    )
    start = place_of(name, "")
    like = "substr(place, 1, length(:start)) = :start"
    forgotten = connection.execute(
        f"SELECT substr(place, length(:start) + 1) AS id FROM keys.keys WHERE key IS NULL AND {like}",  # noqa: S608 - no values in it
        {"start": start},
    ).fetchall()
    states = connection.execute(f"SELECT count(*) FROM states WHERE {like}", {"start": start}).fetchone()[0]  # noqa: S608
    oldest = connection.execute(
        "SELECT min(seen) FROM records WHERE resource = ? AND state != 'deleted'", (name,)
    ).fetchone()[0]
    gaps = None
    if shape.resource.ascending:
        known, highest = connection.execute(
            f"SELECT count(*), max(CAST(id AS INTEGER)) FROM records WHERE resource = ? AND {_NUMBER}",  # noqa: S608
            (name,),
        ).fetchone()
        below = sum(1 for (one,) in forgotten if one.isdecimal() and int(one) < (highest or 0))
        gaps = max(0, (highest or 0) - known - below)
    return ResourceFigures(
        name, counts.get("present", 0), counts.get("missing", 0), counts.get("deleted", 0), len(forgotten), states,
        gaps, oldest,
    )  # fmt: skip


def records_at(
    connection: sqlite3.Connection, ring: KeyRing, resource: str | None = None, at: float | None = None
) -> Iterator[RecordAt]:
    """Yield the records that existed at one moment, as they were, by resource and id.

    :param resource: None: all.
    :param at: seconds since the epoch; None: now.
    """
    when = "" if at is None else "AND since <= :at"
    rows = connection.execute(
        "SELECT r.resource, r.id, r.place, r.state, s.number, s.kind, s.since, s.seen, s.content, k.key"  # noqa: S608 - no values in it
        " FROM records r JOIN states s ON s.place = r.place AND s.number ="
        f" (SELECT max(number) FROM states WHERE place = r.place {when})"
        " LEFT JOIN keys.keys k ON k.place = r.place"
        f" WHERE {_NOT_FORGOTTEN} AND (:resource IS NULL OR r.resource = :resource) {_ORDER}",
        {"at": at, "resource": resource},
    )
    for name, number_of, place, state, number, kind, since, seen, content, key in rows:
        if kind != "shown":
            continue
        shown = "missing" if at is None and state == "missing" else "present"
        yield RecordAt(name, number_of, shown, since, seen, _opened(ring, place, number, content, key))


def not_known_yet(
    connection: sqlite3.Connection, ring: KeyRing, shapes: Shapes, resource: str | None, at: float
) -> int:
    """Count the records that existed at a moment by their ``created_at``, but of which no state is known from then.

    :param at: seconds since the epoch.
    """
    rows = connection.execute(
        "SELECT r.resource, r.place, s.content, k.key FROM records r"
        " JOIN states s ON s.place = r.place AND s.number = 1 AND s.since > :at AND s.kind = 'shown'"
        " LEFT JOIN keys.keys k ON k.place = r.place WHERE :resource IS NULL OR r.resource = :resource",
        {"at": at, "resource": resource},
    )
    found = 0
    for name, place, content, key in rows:
        shape, plain = shapes.by_name.get(name), _opened(ring, place, 1, content, key)
        created = None if shape is None else shape.resource.created_at
        if plain is not None and created is not None:
            made = moment_of(msgspec.json.decode(plain).get(created))
            found += made is not None and made <= at
    return found


def damage(connection: sqlite3.Connection, ring: KeyRing, shapes: Shapes) -> Iterator[str | None]:
    """Check every state of every record. Yields None for each record that is sound, otherwise what is wrong.

    Checked are seals, the sequence of states, digests, and whether each state is as the contract says.
    """
    for name, file in (("main", RECORDS), ("keys", KEYS)):
        check = connection.execute(f"PRAGMA {name}.quick_check").fetchone()[0]
        if check != "ok":
            yield f"{file} is damaged: {check}"
    rows = connection.execute(
        "SELECT r.resource, r.id, r.place, r.number, r.digest, k.key FROM records r"  # noqa: S608 - no values in it
        f" LEFT JOIN keys.keys k ON k.place = r.place WHERE {_NOT_FORGOTTEN} {_ORDER}"
    )
    for resource, record_id, place, last, digest, key in rows:
        states = connection.execute(
            "SELECT number, kind, since, content FROM states WHERE place = ? ORDER BY number", (place,)
        ).fetchall()
        wrong = _wrong(shapes, ring, (resource, record_id, place), (last, digest, key), states)
        yield None if wrong is None else f"{resource} {record_id}: {wrong}"
    stray = connection.execute(
        "SELECT count(*) FROM states WHERE place NOT IN (SELECT place FROM records)"
    ).fetchone()[0]
    if stray:
        yield f"{stray} states belong to no record"


def _wrong(
    shapes: Shapes,
    ring: KeyRing,
    name: tuple[str, str, str],
    row: tuple[int, bytes | None, bytes | None],
    states: list[tuple[int, str, float, bytes | None]],
) -> str | None:
    (resource, record_id, place), (last, digest, stored) = name, row
    if stored is None:
        return "its key is missing"
    try:
        key = ring.open(bytes(stored), place)
    except Unsealable as error:
        return f"its key cannot be read: {error}"
    if place != place_of(resource, record_id) or [state[0] for state in states] != list(range(1, last + 1)):
        return "a state is missing, or too many"
    if any(later[2] < before[2] for before, later in pairwise(states)):
        return "its states are not in the order of their times"
    shape, shown = shapes.by_name.get(resource), None
    for number, kind, _since, content in states:
        if kind != "shown":
            continue
        try:
            plain = key.open(bytes(content or b""), number)
        except Unsealable as error:
            return f"state {number} cannot be read: {error}"
        if shape is not None:
            try:
                shown = shape.read_kept(plain)
            except NotWhole as error:
                return f"state {number}: {error}"
            if shown.id != record_id:
                return f"state {number} is of another record"
    if shown is not None and digest is not None and shown.digest(key.for_digests) != bytes(digest):
        return "its last state is not the one that was noted"
    return None


def forget(connection: sqlite3.Connection, resource: str, record_id: str, wall: float) -> Forgotten:
    """Erase a record with its history, so that it is never learned again.

    :param connection: open for writing.
    :param wall: seconds since the epoch.
    :raise sqlite3.Error: it failed; run it again. If the key is erased already, its states are not readable.
    """
    place = place_of(resource, record_id)
    found = connection.execute("SELECT key FROM keys.keys WHERE place = ?", (place,)).fetchone()
    before = found is not None and found[0] is None
    # Its own commit: from then on nobody can read the record, even if the other file cannot be changed.
    connection.execute(
        "INSERT INTO keys.keys VALUES (:place, NULL, :wall) ON CONFLICT (place) DO UPDATE SET key = NULL,"
        " forgotten = COALESCE(forgotten, :wall)",
        {"place": place, "wall": wall},
    )
    with transaction(connection):
        states = connection.execute("DELETE FROM states WHERE place = ?", (place,)).rowcount
        connection.execute("DELETE FROM records WHERE place = ?", (place,))
    wiped = [
        connection.execute(f"PRAGMA {name}.wal_checkpoint(TRUNCATE)").fetchone()[0]
        for name in ("keys", "main")
    ]
    return Forgotten(states, before, not any(wiped))


def _opened(ring: KeyRing, place: str, number: int, content: Any, key: Any) -> bytes | None:
    if content is None or key is None:
        return None
    try:
        return ring.open(bytes(key), place).open(bytes(content), number)
    except Unsealable:
        return None
