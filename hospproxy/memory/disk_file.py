"""The file in which cache entries outlive the process: its tables and statements. Everything here blocks.

Nothing in it is needed. A file that is damaged, of another version or made with another master key is deleted, not
repaired. It must never contain more than it should, so a file that cannot be written is deleted too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from ..process.folders import make_private
from ..process.sqlite_file import in_one, open_private
from ..sharing.kinds import ListenerFailed

FORMAT = "1"
ROW_OVERHEAD = 400
"""Bytes of a row besides its value: its tags and index entries."""

_TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY,     -- rises: the oldest has the lowest
    key BLOB NOT NULL UNIQUE,
    mark INTEGER NOT NULL,      -- store.Mark
    size INTEGER NOT NULL,
    value BLOB NOT NULL         -- sealed
);
CREATE TABLE IF NOT EXISTS tags (
    tag BLOB NOT NULL,          -- HMAC
    entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    PRIMARY KEY (tag, entry)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tags_by_entry ON tags (entry);
CREATE TABLE IF NOT EXISTS accepted (
    id INTEGER PRIMARY KEY,
    credentials BLOB NOT NULL UNIQUE, -- HMAC
    account BLOB NOT NULL,      -- HMAC
    value BLOB NOT NULL         -- sealed
);
CREATE INDEX IF NOT EXISTS accepted_by_account ON accepted (account);
CREATE TABLE IF NOT EXISTS doubts (account BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS position ( -- in what processes tell each other: all up to here is in this file
    one INTEGER PRIMARY KEY CHECK (one = 1), epoch BLOB NOT NULL, seq INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS total (bytes INTEGER NOT NULL);
INSERT INTO total SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM total);
CREATE TRIGGER IF NOT EXISTS more AFTER INSERT ON entries BEGIN UPDATE total SET bytes = bytes + new.size; END;
CREATE TRIGGER IF NOT EXISTS less AFTER DELETE ON entries BEGIN UPDATE total SET bytes = bytes - old.size; END;
"""

Statement = Callable[[sqlite3.Connection], Any]


class NotOnDisk(ListenerFailed):
    """The file can be neither written nor deleted, so its content may be stale."""


@frozen(slots=True)
class CacheRow:
    """One cache entry in the file.

    :param mark: store.Mark.
    :param tags: HMACs.
    :param value: sealed.
    """

    key: bytes
    mark: int
    tags: tuple[bytes, ...]
    value: bytes


class CacheFile:
    """The connection to the file. After ``open`` it belongs to one thread.

    :param made_with: identifies the master key, the contract and the upstream. A file made with others is deleted.
    :ivar dropped: why the file was last deleted; "" if it was not.
    """

    def __init__(self, path: Path, made_with: str) -> None:
        self._path = path
        self._made_with = made_with
        self._connection: sqlite3.Connection | None = None
        self._stays = False
        self._lasting = True
        self.dropped = ""

    def open(self) -> None:
        """Open the file, or make a new one if it is unusable. If that fails too, there is no file.

        :raise NotOnDisk: it can be neither used nor deleted.
        """
        try:
            make_private(self._path.parent)
            self._connection = self._opened()
        except (sqlite3.Error, OSError) as error:
            self.drop(str(error))
            self._anew()

    def check(self) -> None:
        """Check the whole file once. Takes a while for a large one."""
        if self._connection is None:
            return
        try:
            healthy = self._connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        except sqlite3.DatabaseError:
            healthy = False
        if not healthy:
            self.drop("damaged")
            self._anew()

    def _anew(self) -> None:
        try:
            self._connection = self._opened()
        except (sqlite3.Error, OSError) as error:
            self.drop(str(error))

    def run(self, statements: Sequence[Statement], *, lasting: bool = True) -> list[Any]:
        """Run a group of statements in one transaction. If that fails, delete the file and run them on a new one.

        :param lasting: a power cut may not undo them. It may undo others until the next group that has to last, and the
            disk is not waited for: its cache is written out rarely, and the audit journal has it for itself.
        :return: the results of the statements; None for each if there is no file.
        :raise NotOnDisk: they were not run, and the old file is still there.
        """
        if self._stays:
            self.drop("")
        if self._connection is None:
            return [None] * len(statements)
        try:
            if lasting is not self._lasting:
                # With WAL, NORMAL syncs at checkpoints only; FULL syncs what NORMAL has left, too.
                self._connection.execute(f"PRAGMA synchronous={'FULL' if lasting else 'NORMAL'}")
                self._lasting = lasting
            return in_one(self._connection, statements)
        except sqlite3.Error as error:
            self.drop(str(error))
        try:
            self._connection = self._opened()
            return in_one(self._connection, statements)
        except (sqlite3.Error, OSError) as error:
            self.drop(str(error))
            return [None] * len(statements)

    def drop(self, why: str) -> None:
        """Close and delete the file, with its content.

        :raise NotOnDisk: it cannot be deleted.
        """
        self.dropped = why or self.dropped
        self.close()
        self._stays = True
        try:
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            self._stays = False
        except OSError as error:
            raise NotOnDisk(f"{self._path} can neither be written nor removed: {error.strerror}") from None

    def close(self) -> None:
        """Close the file. Its content stays."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _opened(self) -> sqlite3.Connection:
        self._lasting = True
        return open_private(self._path, lambda connection: prepare(connection, self._made_with))


def prepare(connection: sqlite3.Connection, made_with: str) -> None:
    """Set the connection up, and create the tables that are missing.

    :raise sqlite3.DatabaseError: the file is damaged, or was made with other settings.
    """
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA secure_delete=ON")  # what is revoked is overwritten with zeros
    about = {"format": FORMAT, "made with": made_with}
    is_new = connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None
    if not is_new and dict(connection.execute("SELECT name, value FROM about").fetchall()) != about:
        raise sqlite3.DatabaseError("made with another master key, contract, upstream or version")
    connection.executescript(f"BEGIN; {_TABLES} COMMIT;")
    connection.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", about.items())


def put(connection: sqlite3.Connection, row: CacheRow, max_bytes: int) -> None:
    """Store an entry in place of the old one. Deletes the oldest entries beyond ``max_bytes``."""
    size = len(row.value) + ROW_OVERHEAD
    connection.execute("DELETE FROM entries WHERE key = ?", (row.key,))
    if size <= max_bytes:
        entry = connection.execute(
            "INSERT INTO entries (key, mark, size, value) VALUES (?, ?, ?, ?)",
            (row.key, row.mark, size, row.value),
        ).lastrowid
        connection.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?)", ((tag, entry) for tag in row.tags))
    while bytes_of(connection) > max_bytes:
        connection.execute("DELETE FROM entries WHERE id IN (SELECT id FROM entries ORDER BY id LIMIT 16)")


def bytes_of(connection: sqlite3.Connection) -> int:
    """Bytes of all entries together."""
    return int(connection.execute("SELECT bytes FROM total").fetchone()[0])


def get(connection: sqlite3.Connection, key: bytes) -> tuple[int, bytes] | None:
    """Mark and sealed value of an entry; None if there is none."""
    found: tuple[int, bytes] | None = connection.execute(
        "SELECT mark, value FROM entries WHERE key = ?", (key,)
    ).fetchone()
    return found


def mark(connection: sqlite3.Connection, tag: bytes, level: int, owner: bytes | None) -> None:
    """Raise the mark of every entry with a tag.

    :param owner: only entries that carry this tag too; None: all.
    """
    connection.execute(
        "UPDATE entries SET mark = :level WHERE mark < :level AND id IN (SELECT entry FROM tags WHERE tag = :tag)"
        " AND (:owner IS NULL OR id IN (SELECT entry FROM tags WHERE tag = :owner))",
        {"level": int(level), "tag": tag, "owner": owner},
    )


def drop(connection: sqlite3.Connection, tag: bytes) -> None:
    """Delete every entry with a tag, and the credentials that the tag names or whose account it names."""
    connection.execute("DELETE FROM entries WHERE id IN (SELECT entry FROM tags WHERE tag = ?)", (tag,))
    connection.execute("DELETE FROM accepted WHERE credentials = ? OR account = ?", (tag, tag))


def drop_accounts(connection: sqlite3.Connection, tag: bytes) -> None:
    """Delete all credentials, and every entry that belongs to any."""
    connection.execute("DELETE FROM entries WHERE id IN (SELECT entry FROM tags WHERE tag = ?)", (tag,))
    connection.execute("DELETE FROM accepted")


def accept(
    connection: sqlite3.Connection, credentials: bytes, account: bytes, value: bytes, most: int
) -> None:
    """Store accepted credentials. Deletes the oldest beyond ``most``."""
    connection.execute("DELETE FROM accepted WHERE credentials = ?", (credentials,))
    connection.execute(
        "INSERT INTO accepted (credentials, account, value) VALUES (?, ?, ?)", (credentials, account, value)
    )
    connection.execute(
        "DELETE FROM accepted WHERE id IN (SELECT id FROM accepted ORDER BY id DESC LIMIT -1 OFFSET ?)",
        (most,),
    )


def accepted(connection: sqlite3.Connection, credentials: bytes) -> bytes | None:
    """The sealed value of accepted credentials; None if there is none."""
    row = connection.execute("SELECT value FROM accepted WHERE credentials = ?", (credentials,)).fetchone()
    return None if row is None else bytes(row[0])


def doubt(connection: sqlite3.Connection, account: bytes, value: bytes | None) -> None:
    """Note that an account is being changed, or (None) no longer is."""
    if value is None:
        connection.execute("DELETE FROM doubts WHERE account = ?", (account,))
    else:
        connection.execute("INSERT OR REPLACE INTO doubts VALUES (?, ?)", (account, value))


def doubts(connection: sqlite3.Connection) -> Iterable[tuple[bytes, bytes]]:
    """The accounts that were being changed when the process ended."""
    return connection.execute("SELECT account, value FROM doubts").fetchall()


def forget_all(connection: sqlite3.Connection) -> None:
    """Delete every entry and all credentials. Open changes of accounts stay."""
    connection.execute("DELETE FROM entries")
    connection.execute("DELETE FROM accepted")


def note_position(connection: sqlite3.Connection, epoch: bytes, seq: int) -> None:
    """Note up to which news this file is complete."""
    connection.execute("INSERT OR REPLACE INTO position VALUES (1, ?, ?)", (epoch, seq))


def position(connection: sqlite3.Connection) -> tuple[bytes, int] | None:
    """The position that was last noted; None if there is none."""
    row = connection.execute("SELECT epoch, seq FROM position").fetchone()
    return (row[0], row[1]) if row and isinstance(row[0], bytes) and isinstance(row[1], int) else None
