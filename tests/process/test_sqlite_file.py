"""A transaction is committed whole or not at all, and says why it failed."""

from __future__ import annotations

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.process.sqlite_file import in_one, transaction


class TransactionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.connection.close)
        self.connection.execute("CREATE TABLE found (value)")

    def values(self) -> list[int]:
        return [value for (value,) in self.connection.execute("SELECT value FROM found")]

    def add(self, value: int) -> None:
        self.connection.execute("INSERT INTO found VALUES (?)", (value,))

    def test_all_of_it_is_committed(self) -> None:
        with transaction(self.connection):
            self.add(1)
            self.add(2)
        self.assertFalse(self.connection.in_transaction)
        self.assertEqual(self.values(), [1, 2])

    def test_a_failure_leaves_nothing(self) -> None:
        def fail(_connection: sqlite3.Connection) -> None:
            raise OSError("broken")

        self.assertRaises(OSError, in_one, self.connection, [lambda _: self.add(1), fail])
        self.assertFalse(self.connection.in_transaction)
        self.assertEqual(self.values(), [])

    def test_the_reason_is_kept_if_sqlite_has_rolled_back_by_itself(self) -> None:
        """As it does when the disk is full."""
        with self.assertRaisesRegex(sqlite3.OperationalError, "full"), transaction(self.connection):
            self.add(1)
            self.connection.execute("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")
        self.assertEqual(self.values(), [])
