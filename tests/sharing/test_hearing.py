"""What others say is told to all who have to know."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.sharing.hearing import Ears, NotHeard
from hospproxy.sharing.news import Everything, News
from hospproxy.watch.metrics import NullMeter
from tests.sharing.world import Vault


class EarsTests(SynchronousTestCase):
    def test_whatCannotBeMadeLastingIsSaidOnceUntilItCan(self) -> None:
        """It is tried again with each beat: a full disk must not fill it with tracebacks."""
        ears = Ears(Vault(), b"log", Clock(), 0.5, NullMeter())
        works = False

        def listener(_news: News) -> Deferred[None]:
            return succeed(None) if works else fail(OSError("the disk"))

        ears.listen(listener)
        for expected in (1, 0, 0):
            self.failureResultOf(Deferred.fromCoroutine(ears.hear([Everything()])), NotHeard)
            self.assertEqual(len(self.flushLoggedErrors(OSError)), expected)
        works = True
        self.successResultOf(Deferred.fromCoroutine(ears.hear([Everything()])))
        works = False
        self.failureResultOf(Deferred.fromCoroutine(ears.hear([Everything()])), NotHeard)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
