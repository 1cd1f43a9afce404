"""What others say is told to all who have to know."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.outward.ledger.sealing import Unsealable
from hospproxy.sharing.hearing import Ears, NotHeard
from hospproxy.sharing.news import Everything, News, Struck, packed
from hospproxy.watch.metrics import Metrics, NullMeter
from tests.sharing.common import SmallVault


class Clear:
    """A vault that seals nothing, and opens what is not rubbish."""

    def is_current(self, sealed: bytes) -> bool:
        return True

    def seal(self, plain: bytes, name: bytes) -> bytes:
        return plain

    def open(self, sealed: bytes, name: bytes) -> bytes:
        if sealed == b"rubbish":
            raise Unsealable("damaged")
        return sealed


class EarsTests(SynchronousTestCase):
    def test_whatCannotBeMadeLastingIsSaidOnceUntilItCan(self) -> None:
        """It is tried again with each beat: a full disk must not fill it with tracebacks."""
        ears = Ears(SmallVault(), b"log", Clock(), 0.5, NullMeter())
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

    def test_aLogFullOfRubbishIsToldOnce(self) -> None:
        """Each entry that cannot be read may be anything, and all of them together are no more than that."""
        ears, heard = Ears(Clear(), b"log", Clock(), 1.0, Metrics(strict=True)), list[News]()
        ears.listen(heard.append)
        struck = Struck(("a",))
        sealed = [b"rubbish"] * 200 + [packed(struck)] + [b"rubbish"] * 200
        news, must_be_told = ears.decode(((n, b"other", one) for n, one in enumerate(sealed)), b"me")
        self.successResultOf(Deferred.fromCoroutine(ears.hear([Everything(), *news])))
        self.assertEqual(heard, [Everything(), struck, Everything()])
        self.assertTrue(must_be_told)
