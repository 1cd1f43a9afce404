"""News from other workers reaches every part that needs it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.null_meter import NullMeter
from hospproxy.keys.encryption import Unsealable
from hospproxy.sharing.incoming_news import IncomingNews, NewsNotApplied
from hospproxy.sharing.news import EntriesInvalidated, EverythingStale, News, packed
from hospproxy.watch.metrics import Metrics
from tests.sharing.small_redis import SmallVault


class Clear:
    """A vault that does not encrypt, and opens everything but garbage."""

    def is_current(self, sealed: bytes) -> bool:
        return True

    def seal(self, plain: bytes, name: bytes) -> bytes:
        return plain

    def open(self, sealed: bytes, name: bytes) -> bytes:
        if sealed == b"rubbish":
            raise Unsealable("damaged")
        return sealed


class EarsTests(SynchronousTestCase):
    def test_what_cannot_be_made_lasting_is_said_once_until_it_can(self) -> None:
        """Each heartbeat tries again: a full disk must not fill the log with tracebacks."""
        ears = IncomingNews(SmallVault(), b"log", Clock(), 0.5, NullMeter())
        works = False

        def listener(_news: News) -> Deferred[None]:
            return succeed(None) if works else fail(OSError("the disk"))

        ears.listen(listener)
        said: list[str] = []
        with capturedLogs() as captured:
            for does in (False, False, False, True, False):
                works = does
                self.said_of(ears.hear([EverythingStale()]), does)
                said.append("".join(formatEvent(event) for event in captured))
                captured.clear()
        self.assertEqual([bool(line) for line in said], [True, False, False, False, True])
        self.assertIn("written to disk: the disk", said[0])
        self.assertEqual(self.flushLoggedErrors(), [], "a disk that fails is no mistake of ours")

    def said_of(self, hearing: Coroutine[Any, Any, None], works: bool) -> None:
        if works:
            self.successResultOf(Deferred.fromCoroutine(hearing))
        else:
            self.failureResultOf(Deferred.fromCoroutine(hearing), NewsNotApplied)

    def test_a_mistake_in_alistener_is_said_whole(self) -> None:
        ears = IncomingNews(SmallVault(), b"log", Clock(), 0.5, NullMeter())
        ears.listen(lambda _news: fail(ZeroDivisionError()))
        self.said_of(ears.hear([EverythingStale()]), False)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_log_full_of_rubbish_is_told_once(self) -> None:
        """An unreadable entry could mean anything, and many of them mean no more than one."""
        ears, heard = IncomingNews(Clear(), b"log", Clock(), 1.0, Metrics(strict=True)), list[News]()
        ears.listen(heard.append)
        struck = EntriesInvalidated(("a",))
        sealed = [b"rubbish"] * 200 + [packed(struck)] + [b"rubbish"] * 200
        news, must_be_told = ears.decode(((n, b"other", one) for n, one in enumerate(sealed)), b"me")
        self.successResultOf(Deferred.fromCoroutine(ears.hear([EverythingStale(), *news])))
        self.assertEqual(heard, [EverythingStale(), struck, EverythingStale()])
        self.assertTrue(must_be_told)
