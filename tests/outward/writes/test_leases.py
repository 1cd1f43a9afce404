"""Retries that come while it cannot be seen yet that nobody is left who gets the first one's answer."""

from __future__ import annotations

from .test_elsewhere import RESET, SiteTestCase


class LeaseTests(SiteTestCase):
    def test_aRetryWithinADeadOnesLeaseGetsWhatItsSuccessorFinds(self) -> None:
        """It waits for the turn as a write of its own until it can be seen that nobody has the answer."""
        self.hosp.faults = [("after", RESET)]
        self.hosp.read_faults = [500] * 3
        self.sending(self.one)
        self.site.end(self.one, lease_s=3)
        again = self.sending(self.two)
        self.clock.advance(0.1)
        self.hosp.read_faults = []
        self.site.worker("m0")
        self.assertEqual(self.id_of(self.told(self.two, again)), self.stored[0]["id"])
        self.assertEqual(len(self.stored), 1)

    def test_anAnswerThatDiedOnItsWayIsFoundWithinTheLease(self) -> None:
        first = self.send(self.one, handed_over=False)
        self.site.end(self.one, seen=False, lease_s=3)
        self.assertEqual(self.send(self.two).body, first.body)
        self.assertEqual(len(self.stored), 1)

    def test_aClientWhoIsHeardToHaveLeftOnlyWhileItsRetryWaits(self) -> None:
        self.hosp.hold = True
        first = self.sending(self.one)
        again = self.sending(self.two)
        self.clock.advance(0.5)
        self.leave(first)
        self.release()
        self.id_of(self.told(self.two, again))
        self.clock.pump([0.1] * 30)
        self.assertEqual(len(self.stored), 1)

    def test_anAnswerThatARetryDiedWithIsTheNextOnes(self) -> None:
        first = self.send(self.one, handed_over=False)
        self.site.end(self.one, seen=False)
        self.send(self.two, handed_over=False)
        self.site.end(self.two, lease_s=3)
        self.assertEqual(self.send(self.site.worker("m1")).body, first.body)
        self.assertEqual(len(self.stored), 1)
