"""A group of statements as one transaction: what waits while one is synced makes up the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any


def in_one(
    connection: sqlite3.Connection, statements: Sequence[Callable[[sqlite3.Connection], Any]]
) -> list[Any]:
    """All of a group, or none of it. Blocks.

    :return: what each statement returned.
    :raise sqlite3.Error: none of it was done.
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
