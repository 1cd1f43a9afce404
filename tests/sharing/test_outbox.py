"""The outbox is bounded, and announces too much rather than too little."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.sharing.news import (
    CredentialsAccepted,
    EntriesInvalidated,
    EverythingStale,
    LoginResult,
    unpacked,
)
from hospproxy.sharing.outbox import Outbox, is_hint


class OutboxTests(SynchronousTestCase):
    def test_what_is_said_meanwhile_stays(self) -> None:
        box = Outbox()
        box.put(EntriesInvalidated(("a",)))
        sent = box.all()
        box.put(EntriesInvalidated(("b",)), urgent=True)
        box.said(sent)
        self.assertEqual([unpacked(one.plain) for one in box.all()], [EntriesInvalidated(("b",))])
        self.assertEqual(box.ticket, 2)

    def test_too_much_becomes_everything(self) -> None:
        for bounds in ({"most": 4}, {"most_bytes": 900}):
            box = Outbox(**bounds)
            for number in range(5):
                box.put(EntriesInvalidated((f"tag{number}",)), urgent=number == 1)
            self.assertEqual(unpacked(box.all()[0].plain), EverythingStale())
            self.assertTrue(box.all()[0].urgent)
            self.assertEqual(box.overflows, 1)
            self.assertLess(len(box), 5)

    def test_hints_are_lost_before_anything_else(self) -> None:
        box = Outbox(most=4)
        box.put(EntriesInvalidated(("a",)))
        for _ in range(2):
            box.put(LoginResult(b"account"))
            box.put(CredentialsAccepted((b"credentials",)))
        self.assertEqual([unpacked(one.plain) for one in box.all()], [EntriesInvalidated(("a",))])

    def test_what_cannot_be_written_is_everything(self) -> None:
        box = Outbox()
        box.put(EntriesInvalidated(("record:notes/\udcff",)))
        self.assertEqual(unpacked(box.all()[0].plain), EverythingStale())

    def test_what_not_all_have_read_is_said_again_when_the_log_is_lost(self) -> None:
        box = Outbox()
        for seq, tag in ((3, "a"), (4, "b")):
            box.put(EntriesInvalidated((tag,)), LoginResult(b"account"))
            box.said(box.all(), seq)
        box.put(EntriesInvalidated(("c",)))
        box.read(3)
        box.say_again()
        self.assertEqual(
            [unpacked(one.plain) for one in box.all()],
            [EntriesInvalidated(("b",)), EntriesInvalidated(("c",))],
        )
        box.said(box.all(), 5)
        box.read(5)
        box.say_again()
        self.assertEqual(len(box), 0)

    def test_of_those_too_many_become_everything_too(self) -> None:
        box = Outbox(most=4)
        for number in range(9):
            box.put(EntriesInvalidated((f"tag{number}",)))
            box.said(box.all(), number)
            self.assertLess(len(box._unread), 5)
        box.say_again()
        self.assertIn(EverythingStale(), [unpacked(one.plain) for one in box.all()])

    def test_who_was_accepted_makes_nothing_stale(self) -> None:
        self.assertTrue(is_hint(CredentialsAccepted((b"credentials",))))
