"""Few guesses wait at a time, and those with the fewest failures keep their turn."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.guard.admission.delay_queue import DelayReason, WaitingGuesses
from hospproxy.http.errors import TooMany


class WaitingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.waiting = WaitingGuesses(self.clock, 5)

    def wait(
        self, place: bytes = b"a", guilt: int = 1, room: int = 2, delay_s: float = 4.0
    ) -> Deferred[None]:
        return Deferred.fromCoroutine(self.waiting.wait([DelayReason(place, room, guilt)], delay_s))

    def refused(self, deferred: Deferred[None]) -> TooMany:
        return self.failureResultOf(deferred, TooMany).value  # type: ignore[no-any-return]

    def test_it_takes_as_long_as_it_is_told(self) -> None:
        waiting = self.wait()
        self.clock.advance(3.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.1)
        self.successResultOf(waiting)
        self.assertEqual(len(self.waiting), 0)

    def test_the_room_and_one_more(self) -> None:
        first, second = self.wait(), self.wait()
        refused = self.refused(self.wait(delay_s=4.2))
        self.assertEqual((refused.status, refused.retry_after_s), (429, 5))
        self.assertNoResult(self.wait(b"other"))
        self.clock.advance(4)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertNoResult(self.wait())

    def test_the_less_guilty_takes_the_place_of_the_guiltiest(self) -> None:
        guilty, middling = self.wait(guilt=9), self.wait(guilt=4)
        innocent = self.wait(guilt=0)
        self.refused(guilty)
        self.refused(self.wait(guilt=4))
        self.clock.advance(4)
        self.successResultOf(middling)
        self.successResultOf(innocent)

    def test_nobody_is_sent_away_for_one_who_cannot_stay(self) -> None:
        guilty = self.wait(b"a", guilt=9, room=1)
        self.wait(b"b", guilt=0, room=1)
        both = Deferred.fromCoroutine(
            self.waiting.wait([DelayReason(b"a", 1, 3), DelayReason(b"b", 1, 3)], 4.0)
        )
        self.refused(both)
        self.assertNoResult(guilty)

    def test_no_more_than_so_many_in_all(self) -> None:
        for number in range(5):
            self.assertNoResult(self.wait(b"%d" % number))
        self.refused(self.wait(b"6"))
        self.assertEqual(len(self.waiting), 5)

    def test_whoever_leaves_makes_room(self) -> None:
        leaving = self.wait(room=1)
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.assertEqual((len(self.waiting), self.clock.getDelayedCalls()), (0, []))
        self.assertNoResult(self.wait(room=1))
