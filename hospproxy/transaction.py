"""Run a group of statements as one transaction: statements that arrive during a sync form the next group."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any


def in_one(
    connection: sqlite3.Connection, statements: Sequence[Callable[[sqlite3.Connection], Any]]
) -> list[Any]:
    """Execute all statements of a group, or none. Blocks.

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
