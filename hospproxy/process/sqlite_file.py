"""SQLite files: open one, and run a group of statements as one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def open_private(path: Path, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """Open a file, which is created with mode 0600 if it is missing. Blocks.

    :param prepare: sets the connection up and creates what is missing. If it fails, the connection is closed.
    :return: a connection that any thread may use, one at a time, and that begins no transaction by itself.
    :raise sqlite3.Error: it cannot be opened.
    :raise OSError: it cannot be created.
    """
    if not path.exists():
        path.touch(mode=0o600)
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit everything that is executed inside, or nothing if it fails.

    :raise sqlite3.Error: nothing was changed.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # On a full disk SQLite has rolled back by itself; another ROLLBACK would fail, and hide why.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def in_one(
    connection: sqlite3.Connection, statements: Sequence[Callable[[sqlite3.Connection], Any]]
) -> list[Any]:
    """Execute all statements of a group in one transaction, or none. Statements that arrive during a sync form the next
    group. Blocks.

    :return: what each statement returned.
    :raise sqlite3.Error: nothing was changed.
    """
    with transaction(connection):
        return [statement(connection) for statement in statements]
