"""SQLite files: open one, and run a group of statements as one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
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


def in_one(
    connection: sqlite3.Connection, statements: Sequence[Callable[[sqlite3.Connection], Any]]
) -> list[Any]:
    """Execute all statements of a group in one transaction, or none. Statements that arrive during a sync form the next
    group. Blocks.

    :return: what each statement returned.
    :raise sqlite3.Error: nothing was changed.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        results = [statement(connection) for statement in statements]
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return results
