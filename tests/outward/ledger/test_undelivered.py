"""Which entries of an earlier process a client may still ask for."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.outward.ledger import store
from hospproxy.outward.ledger.format import prepare
from hospproxy.outward.ledger.store import LedgerRow


def row(reference: str, kind: str) -> LedgerRow:
    return LedgerRow(
        reference, kind, "open", "notes", b"", None, None, None, None, 100.0, None, False, None, None
    )


class UndeliveredTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.connection.close)
        prepare(self.connection, Path("ledger.sqlite"))
        for reference, kind in (("new", "create"), ("changed", "change"), ("seen/screening", "screening")):
            store.enter(self.connection, [row(reference, kind)], "somebody")

    def close(self, *references: str) -> None:
        for reference in references:
            store.close(self.connection, reference, "answered", None, b"the answer", 200.0)

    def found(self, since: float = 150.0) -> list[str]:
        return sorted(each.reference for each in store.undelivered(self.connection, since))

    def test_what_its_client_never_got(self) -> None:
        """Changed and new records; a screening's note has no client."""
        self.close("new", "changed", "seen/screening")
        self.assertEqual(self.found(), ["changed", "new"])

    def test_open_ones_are_taken_over_instead(self) -> None:
        self.close("new")
        self.assertEqual(self.found(), ["new"])

    def test_not_what_was_handed_over(self) -> None:
        self.close("new", "changed")
        store.hand_over(self.connection, "changed")
        self.assertEqual(self.found(), ["new"])

    def test_not_what_is_out_of_the_window(self) -> None:
        self.close("new", "changed")
        self.assertEqual(self.found(since=200.0), [])
