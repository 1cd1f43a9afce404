from __future__ import annotations

import gc
import weakref
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import ProxyError
from hospproxy.http.messages import Response
from hospproxy.memory.fills import GRACE_S, Fetched, Fill, Fills
from tests.stages import identified

DONE = Fetched(Response(200))


class FillsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.fills = Fills(self.clock)
        self.work: list[Deferred[Fetched]] = []

    def begin(self, key: bytes = b"key", tags: tuple[str, ...] = ("x",), deadline: float = 28.0) -> Fill:
        async def fetch(_: Fill) -> Fetched:
            self.work.append(Deferred())
            return await self.work[-1]

        exchange = identified(deadline=deadline)
        return self.fills.begin(key, tags, exchange, True, fetch)

    def wait(self, fill: Fill, deadline: float = 28.0) -> list[Any]:
        came: list[Any] = []
        self.waiting = Deferred.fromCoroutine(self.fills.wait(fill, deadline))
        self.waiting.addBoth(came.append)
        return came

    def test_it_is_joinable_until_it_ends(self) -> None:
        fill = self.begin()
        self.assertIs(self.fills.joinable(b"key"), fill)
        self.assertIsNone(self.fills.joinable(b"other"))
        came = self.wait(fill)
        self.work[0].callback(DONE)
        self.assertEqual(came, [DONE])
        self.assertIsNone(self.fills.joinable(b"key"))
        self.assertEqual(len(self.fills), 0)

    def test_nothing_of_it_waits_for_the_garbage_collector(self) -> None:
        """A fetch holds its whole exchange, so a cycle would keep that of each miss until a collection."""
        fill = self.begin()
        self.wait(fill)
        gone = weakref.ref(fill)
        gc.disable()
        self.addCleanup(gc.enable)
        self.work.pop().callback(DONE)
        del fill
        self.assertIsNone(gone())

    def test_an_answer_that_is_there_at_once(self) -> None:
        async def fetch(_: Fill) -> Fetched:
            return DONE

        async def fail(_: Fill) -> Fetched:
            raise ProxyError("no")

        exchange = identified()
        self.assertEqual(self.wait(self.fills.begin(b"key", (), exchange, True, fetch)), [DONE])
        self.assertIsInstance(
            self.wait(self.fills.begin(b"key", (), exchange, True, fail))[0].value, ProxyError
        )
        self.assertEqual((len(self.fills), self.fills.joinable(b"key")), (0, None))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_doom_strikes_what_began_before_and_carries_the_tag(self) -> None:
        struck, spared = self.begin(b"a", ("x", "y")), self.begin(b"b", ("y",))
        self.assertEqual(self.fills.doom(("x", "z")), 1)
        self.assertEqual((struck.doomed, spared.doomed), (True, False))
        self.assertEqual((self.fills.joinable(b"a"), self.fills.joinable(b"b")), (None, spared))
        self.assertEqual(len(self.fills), 2, "it goes on for those who wait")
        self.assertEqual(self.fills.doom(("x",)), 0)

    def test_a_second_for_the_same_key_takes_the_place_of_the_first(self) -> None:
        first, second = self.begin(), self.begin()
        self.assertTrue(first.doomed)
        self.work[0].callback(DONE)
        self.assertIs(self.fills.joinable(b"key"), second, "the end of the first must not hide the second")
        self.assertFalse(second.doomed)

    def test_a_doomed_ones_end_does_not_hide_its_successor(self) -> None:
        self.begin()
        self.fills.doom(("x",))
        second = self.begin()
        self.work[0].callback(DONE)
        self.assertIs(self.fills.joinable(b"key"), second)

    def test_the_last_to_leave_ends_the_fetch_and_nobody_joins_it_after(self) -> None:
        fill = self.begin()
        came = self.wait(fill)
        self.waiting.cancel()
        self.assertIsInstance(came[0].value, CancelledError)
        self.assertTrue(self.work[0].called)
        self.assertEqual((len(self.fills), self.fills.joinable(b"key")), (0, None))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_fetch_that_will_not_end_is_not_joined(self) -> None:
        async def stubborn(_: Fill) -> Fetched:
            try:
                await Deferred()
            except CancelledError:
                await Deferred()
            return DONE

        exchange = identified()
        self.wait(self.fills.begin(b"key", ("x",), exchange, True, stubborn))
        self.waiting.cancel()
        self.assertEqual((len(self.fills), self.fills.joinable(b"key")), (1, None))

    def test_a_deadline_ends_the_wait_of_one_alone(self) -> None:
        fill = self.begin(deadline=5)
        short, long = self.wait(fill, 5), self.wait(fill, 9)
        self.assertEqual(fill.exchange.deadline, 9)
        self.clock.advance(5 + GRACE_S)
        self.assertEqual((short[0].value.status, long), (504, []))
        self.work[0].callback(DONE)
        self.assertEqual(long, [DONE])

    def test_when_the_last_deadline_has_passed_the_fetch_ends(self) -> None:
        came = self.wait(self.begin(deadline=5), 5)
        self.clock.advance(5 + GRACE_S)
        self.assertEqual(came[0].value.status, 504)
        self.assertEqual(len(self.fills), 0)

    def test_who_knows_better_speaks_first(self) -> None:
        came = self.wait(self.begin(deadline=5), 5)
        self.clock.advance(5)
        self.work[0].errback(ProxyError("HOSP stalled", status=504))
        self.assertEqual(came[0].value.detail, "HOSP stalled")

    def test_one_who_cancels_another_while_they_are_being_told(self) -> None:
        fill = self.begin()
        self.wait(fill)
        first = self.waiting
        came = self.wait(fill)
        second = self.waiting
        first.addCallback(lambda _: second.cancel())
        self.work[0].callback(DONE)
        self.assertIsInstance(came[0].value, CancelledError)
