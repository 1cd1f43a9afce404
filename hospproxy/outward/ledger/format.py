"""The ledger's file: its tables, and what happens to a file of another version or a damaged one.

A minor version only adds, so that the version before can read what this one wrote. A change that it could not read
raises the major version; then an older program refuses the file.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ...process.folders import make_private
from ...process.sqlite_file import open_private

MAJOR, MINOR = 1, 3

_TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    reference TEXT PRIMARY KEY,
    owner TEXT,                 -- NULL once it is closed
    kind TEXT NOT NULL,         -- create | change | screening
    state TEXT NOT NULL,        -- open | unknown | answered | found | absent | refused
    resource TEXT,
    equal BLOB NOT NULL,        -- HMAC of method, route, author and canonical body
    key BLOB,                   -- HMAC of staff id and Idempotency-Key
    author BLOB,                -- HMAC of the staff id
    floor INTEGER,              -- highest id of the resource that had been seen when it began
    record TEXT,                -- id of the record that this write made, or that it changes
    entered REAL NOT NULL,      -- wall time, seconds since the epoch
    closed REAL,
    handed_over INTEGER NOT NULL DEFAULT 0,
    call BLOB,                  -- sealed; wiped when the entry closes and is pending no more, or a day later
    answer BLOB,                -- sealed; kept while somebody may ask for it
    names BLOB,                 -- sealed: what other workers and machines know it by (since 1.1)
    not_before REAL,            -- what the upstream's own clock showed at least when it began (since 1.2)
    sequence INTEGER,           -- highest id that a new record of the resource had been seen to get by then (since 1.2)
    pending INTEGER             -- 1: it is settled, but may be under way at the upstream yet (since 1.2)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kept_turns (    -- (since 1.3)
    reference TEXT PRIMARY KEY, -- of a settled write that is pending
    owner TEXT NOT NULL         -- the process that keeps its turn; entries of earlier versions have none
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_by_key ON entries (key) WHERE key IS NOT NULL;
CREATE INDEX IF NOT EXISTS entries_by_owner ON entries (owner) WHERE owner IS NOT NULL;
CREATE INDEX IF NOT EXISTS entries_in_doubt ON entries (equal) WHERE state IN ('unknown', 'given up');
CREATE INDEX IF NOT EXISTS entries_by_closing ON entries (closed) WHERE closed IS NOT NULL;
"""

_NEW = (("names", "BLOB"), ("not_before", "REAL"), ("sequence", "INTEGER"), ("pending", "INTEGER"))


class LedgerFormatError(Exception):
    """The file was written by a newer version. The text says what to do."""


def open_file(path: Path) -> tuple[sqlite3.Connection, Path | None]:
    """Open the ledger's file; create it if there is none.

    :return: the connection, and the path to which a damaged file was moved (None if it was not).
    :raise LedgerFormatError: a newer major version wrote it.
    :raise sqlite3.Error: it cannot be opened or written.
    """
    make_private(path.parent)
    aside = None
    try:
        connection = open_private(path, lambda each: prepare(each, path))
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        aside = _move_aside(path)
        connection = open_private(path, lambda each: prepare(each, path))
    return connection, aside


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Set the connection up, check the file, and create what is missing.

    :raise LedgerFormatError: a newer major version wrote it.
    :raise sqlite3.DatabaseError: it is damaged.
    """
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA secure_delete=ON")  # deleted content is overwritten with zeros
    if connection.execute("PRAGMA quick_check").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("damaged")
    _check_version(connection, path)
    connection.executescript(_TABLES)
    _add_what_is_new(connection)
    connection.execute("INSERT OR REPLACE INTO about VALUES ('version', ?)", (f"{MAJOR}.{MINOR}",))


def _add_what_is_new(connection: sqlite3.Connection) -> None:
    """Add the columns that earlier versions did not have. Those versions ignore them."""
    there = {str(row[1]) for row in connection.execute("PRAGMA table_info(entries)")}
    for name, kind in _NEW:
        if name in there:
            continue
        try:
            connection.execute(f"ALTER TABLE entries ADD COLUMN {name} {kind}")
        except sqlite3.OperationalError as error:
            if "duplicate column" not in str(error):  # another worker was first
                raise
    connection.execute("CREATE INDEX IF NOT EXISTS entries_pending ON entries (pending) WHERE pending = 1")


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'about'").fetchone()
    row = connection.execute("SELECT value FROM about WHERE name = 'version'").fetchone() if there else None
    if row is not None and int(str(row[0]).split(".")[0]) > MAJOR:
        raise LedgerFormatError(
            f"{path} was written by a newer hospproxy (format {row[0]}; this one knows {MAJOR}.{MINOR}): "
            "install that version again, or start with another state folder"
        )


def _move_aside(path: Path) -> Path:
    """Rename a damaged file and its companions, for later inspection."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + suffix))
    return aside
