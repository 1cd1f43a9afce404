"""What is to be said is bounded, and says rather too much than too little."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.sharing.news import Accepted, Everything, Guess, Struck, unpacked
from hospproxy.sharing.outbox import Outbox


class OutboxTests(SynchronousTestCase):
    def test_whatIsSaidMeanwhileStays(self) -> None:
        box = Outbox()
        box.put(Struck(("a",)))
        sent = box.all()
        box.put(Struck(("b",)), urgent=True)
        box.said(sent)
        self.assertEqual([unpacked(one.plain) for one in box.all()], [Struck(("b",))])
        self.assertEqual(box.ticket, 2)

    def test_tooMuchBecomesEverything(self) -> None:
        for bounds in ({"most": 4}, {"most_bytes": 900}):
            box = Outbox(**bounds)
            for number in range(5):
                box.put(Struck((f"tag{number}",)), urgent=number == 1)
            self.assertEqual(unpacked(box.all()[0].plain), Everything())
            self.assertTrue(box.all()[0].urgent)
            self.assertEqual(box.overflows, 1)
            self.assertLess(len(box), 5)

    def test_hintsAreLostBeforeAnythingElse(self) -> None:
        box = Outbox(most=4)
        box.put(Struck(("a",)))
        for _ in range(2):
            box.put(Guess(b"account"))
            box.put(Accepted((b"credentials",)))
        self.assertEqual([unpacked(one.plain) for one in box.all()], [Struck(("a",))])

    def test_whatCannotBeWrittenIsEverything(self) -> None:
        box = Outbox()
        box.put(Struck(("record:notes/\udcff",)))
        self.assertEqual(unpacked(box.all()[0].plain), Everything())
