"""What is in the log reaches those who have to know."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.outward.ledger.sealing import Unsealable
from hospproxy.sharing.hearing import Ears
from hospproxy.sharing.news import Everything, News, Struck, packed
from hospproxy.watch.metrics import Metrics


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
