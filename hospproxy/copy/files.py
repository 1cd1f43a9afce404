"""The two SQLite files of the copy: their tables, and what makes them unusable. Everything here blocks.

``records.sqlite`` has the states of records, ``keys.sqlite`` the key of each record. A key is erased when its record is
forgotten, and its row stays as the mark that says so. A minor version only adds to the tables; a newer major version is
refused, as is a file that is damaged: these are the only copies, so nothing here drops or moves them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ..process.folders import make_private
from ..process.sqlite_file import open_private, transaction
from .sealing import KeyRing

MAJOR, MINOR = 1, 0
RECORDS: Final = "records.sqlite"
KEYS: Final = "keys.sqlite"
BUSY_S: Final = 10.0
"""Seconds to wait for another process that writes."""

_RECORDS = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (
    place TEXT PRIMARY KEY,     -- resource/id
    resource TEXT NOT NULL,
    id TEXT NOT NULL,
    state TEXT NOT NULL,        -- present | missing | deleted
    number INTEGER NOT NULL,    -- of its last state
    digest BLOB,                -- keyed hash of its last content; NULL: none was shown
    updated REAL,               -- its updated_at, seconds since the epoch
    began REAL NOT NULL,        -- of the last sighting that was accepted: on the clock since boot, plus the offset
    ended REAL NOT NULL,
    seen REAL NOT NULL          -- seconds since the epoch at which HOSP last showed this state
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS records_by_resource ON records (resource, state, seen);
CREATE TABLE IF NOT EXISTS states (
    place TEXT NOT NULL,
    number INTEGER NOT NULL,    -- from 1
    kind TEXT NOT NULL,         -- shown | deleted
    since REAL NOT NULL,        -- seconds since the epoch from which it holds; does not fall from state to state
    seen REAL NOT NULL,         -- seconds since the epoch at which HOSP first showed it
    content BLOB,               -- sealed with the record's key; NULL: deleted
    PRIMARY KEY (place, number)
);
"""
_KEYS = """
CREATE TABLE IF NOT EXISTS keys.about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys.keys (
    place TEXT PRIMARY KEY,
    key BLOB,                   -- sealed; NULL: the record is forgotten
    forgotten REAL              -- seconds since the epoch
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys.witness (one INTEGER PRIMARY KEY CHECK (one = 1), value BLOB NOT NULL);
"""


class CopyUnusable(Exception):
    """The copy cannot be used as it is. The text says why and what to do; the files stay as they are."""


def open_files(
    folder: Path, ring: KeyRing, token: Callable[[int], str], since_boot: Callable[[], float]
) -> sqlite3.Connection:
    """Open the copy for writing; create it if there is none.

    :param token: makes this many random bytes, in hexadecimal.
    :param since_boot: monotonic seconds on which all processes of the machine agree.
    :raise CopyUnusable: a newer version, another master key or damage; or one of the two files is missing.
    :raise sqlite3.OperationalError: it cannot be opened or written now.
    :raise OSError: the folder cannot be made.
    """
    make_private(folder)
    records, keys = folder / RECORDS, folder / KEYS
    if records.exists() and records.stat().st_size and not keys.exists():
        raise CopyUnusable(f"{keys} is missing, and {records} cannot be read without it: restore it")
    if not keys.exists():
        keys.touch(mode=0o600)

    def prepare(connection: sqlite3.Connection) -> None:
        _attach(connection, keys, "")
        for name in ("main", "keys"):
            connection.execute(f"PRAGMA {name}.journal_mode=WAL")
            connection.execute(f"PRAGMA {name}.synchronous=NORMAL")
            connection.execute(f"PRAGMA {name}.secure_delete=ON")
        check(connection, folder, ring)
        with transaction(connection):
            _complete(connection, ring, token, since_boot())
        # Synced now: states on disk beside keys without a name would be refused after a power cut.
        connection.execute("PRAGMA keys.wal_checkpoint")

    try:
        return open_private(records, prepare)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise CopyUnusable(f"the copy in {folder} is damaged ({error}): restore it from a backup") from None


def open_existing(folder: Path, ring: KeyRing, *, write: bool = False) -> sqlite3.Connection:
    """Open a copy that exists, for a command; the proxy may be running.

    :raise CopyUnusable: there is none, or as ``open_files``.
    :raise sqlite3.OperationalError: it cannot be opened.
    """
    records, keys = folder / RECORDS, folder / KEYS
    for path in (records, keys):
        if not path.exists():
            raise CopyUnusable(f"there is no copy: {path} does not exist")
    mode = "rw" if write else "ro"
    connection = sqlite3.connect(
        f"file:{quote(str(records))}?mode={mode}", timeout=BUSY_S, isolation_level=None, uri=True
    )
    try:
        _attach(connection, keys, mode)
        check(connection, folder, ring)
        if not _has_tables(connection):
            raise CopyUnusable(f"there is no copy: {records} is empty")
        if write:
            for name in ("main", "keys"):
                connection.execute(f"PRAGMA {name}.synchronous=FULL")
                connection.execute(f"PRAGMA {name}.secure_delete=ON")
    except sqlite3.OperationalError:
        connection.close()
        raise
    except sqlite3.DatabaseError as error:
        connection.close()
        raise CopyUnusable(f"the copy in {folder} is damaged ({error}): restore it from a backup") from None
    except BaseException:
        connection.close()
        raise
    return connection


def check(connection: sqlite3.Connection, folder: Path, ring: KeyRing) -> None:
    """Check that the files belong together and to this master key, and that this version reads them.

    :raise CopyUnusable: they do not.
    """
    found = {}
    for name, file in (("main", RECORDS), ("keys", KEYS)):
        there = connection.execute(f"SELECT 1 FROM {name}.sqlite_master WHERE name = 'about'").fetchone()  # noqa: S608 - names of our own
        about = dict(connection.execute(f"SELECT name, value FROM {name}.about").fetchall()) if there else {}  # noqa: S608
        version = str(about.get("version", f"{MAJOR}.{MINOR}"))
        if not version.split(".")[0].isdigit() or int(version.split(".")[0]) > MAJOR:
            raise CopyUnusable(
                f"{folder / file} was written by a newer hospproxy (format {version}; this one knows {MAJOR}.{MINOR}):"
                " install that version again, or move the folder away to start a new copy"
            )
        found[name] = about.get("copy")
    if found["main"] != found["keys"] and not _is_new(connection, found.values()):
        raise CopyUnusable(f"{folder / RECORDS} and {folder / KEYS} are not of the same copy: restore both")
    if found["keys"] is not None:
        row = connection.execute("SELECT value FROM keys.witness").fetchone()
        if row is not None and not ring.knows(bytes(row[0])):
            raise CopyUnusable(
                f"the copy in {folder} was sealed with another master key: name that key as"
                " master_key_previous_file, or move the folder away to start a new copy"
            )


def _is_new(connection: sqlite3.Connection, names: Iterable[str | None]) -> bool:
    """Whether a crash ended the first start between the commits of the two files."""
    if all(names):
        return False
    there = connection.execute("SELECT 1 FROM main.sqlite_master WHERE name = 'records'").fetchone()
    return there is None or connection.execute("SELECT 1 FROM main.records").fetchone() is None


def bytes_of(connection: sqlite3.Connection) -> int:
    """Bytes that the content of both files takes, without free pages."""
    total = 0
    for name in ("main", "keys"):
        pages, free, size = (
            int(connection.execute(f"PRAGMA {name}.{what}").fetchone()[0])
            for what in ("page_count", "freelist_count", "page_size")
        )
        total += (pages - free) * size
    return total


def _attach(connection: sqlite3.Connection, keys: Path, mode: str) -> None:
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
    connection.execute("ATTACH ? AS keys", (f"file:{quote(str(keys))}?mode={mode}" if mode else str(keys),))


def _has_tables(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM main.sqlite_master WHERE name = 'states'").fetchone() is not None


def _complete(
    connection: sqlite3.Connection, ring: KeyRing, token: Callable[[int], str], since_boot: float
) -> None:
    """Create what is missing, in one transaction, and set the offset of the clock since boot."""
    for statement in (_RECORDS + _KEYS).split(";\n"):
        if statement.strip():
            connection.execute(statement)
    about = dict(connection.execute("SELECT name, value FROM about").fetchall())
    keys = dict(connection.execute("SELECT name, value FROM keys.about").fetchall())
    if "copy" not in about or "copy" not in keys:
        # A name that one of them has stays: a crash between the commits of the files must not leave two names.
        name = about.get("copy") or keys.get("copy") or token(16)
        for table in ("main.about", "keys.about"):
            connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ('copy', ?)", (name,))  # noqa: S608 - names of our own
    for table in ("main.about", "keys.about"):
        connection.execute(
            f"INSERT OR REPLACE INTO {table} VALUES ('version', ?)",  # noqa: S608 - names of our own
            (f"{MAJOR}.{MINOR}",),
        )
    connection.execute("INSERT OR IGNORE INTO keys.witness VALUES (1, ?)", (ring.witness(),))
    # After a reboot the clock begins anew: the moments of sightings must go on rising.
    offset, highest = float(about.get("offset", "0")), float(about.get("highest", "0"))
    connection.execute(
        "INSERT OR REPLACE INTO about VALUES ('offset', ?)", (repr(max(offset, highest - since_boot)),)
    )
