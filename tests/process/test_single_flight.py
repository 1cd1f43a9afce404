"""Single-flight: one piece of work for callers that want the same at the same time."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import ProxyError
from hospproxy.process.single_flight import SingleFlight


class SingleFlightTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.single: SingleFlight[str] = SingleFlight()
        self.begun: list[Deferred[str]] = []
        self.cancelled = 0

    def _cancelled(self, _: Deferred[str]) -> None:
        self.cancelled += 1

    def begin(self) -> Deferred[str]:
        self.begun.append(Deferred(self._cancelled))
        return self.begun[-1]

    def join(self, key: str = "k") -> Deferred[str]:
        return Deferred.fromCoroutine(self.single.join(key, self.begin))

    def test_equal_work_is_done_once_and_work_after_it_anew(self) -> None:
        one, two, other = self.join(), self.join(), self.join("other")
        self.assertEqual((len(self.begun), len(self.single)), (2, 2))
        self.begun[0].callback("done")
        self.assertEqual([self.successResultOf(one), self.successResultOf(two)], ["done", "done"])
        self.assertNoResult(other)
        self.assertFalse(self.single.running("k"))
        self.join()
        self.assertEqual(len(self.begun), 3)

    def test_a_failure_is_everybodys(self) -> None:
        one, two = self.join(), self.join()
        self.begun[0].errback(ValueError("x"))
        first, second = self.failureResultOf(one, ValueError), self.failureResultOf(two, ValueError)
        self.assertIs(first.value, second.value)
        self.assertIsNot(first, second)

    def test_who_leaves_leaves_alone(self) -> None:
        one, two = self.join(), self.join()
        one.cancel()
        self.failureResultOf(one, CancelledError)
        self.assertEqual(self.cancelled, 0)
        self.begun[0].callback("done")
        self.assertEqual(self.successResultOf(two), "done")

    def test_when_all_have_left_the_work_ends(self) -> None:
        one, two = self.join(), self.join()
        for each in (one, two):
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual((self.cancelled, len(self.single)), (1, 0))

    def test_work_that_takes_a_while_to_end_is_not_joined(self) -> None:
        ending: Deferred[None] = Deferred()

        async def slow_to_end() -> str:
            try:
                return await self.begin()
            finally:
                await ending

        leaving = Deferred.fromCoroutine(self.single.join("k", slow_to_end))
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        after = self.join()
        self.assertEqual(len(self.begun), 2)
        ending.callback(None)
        self.assertTrue(self.single.running("k"), "the end of the first must not hide the second")
        self.begun[1].callback("done")
        self.assertEqual(self.successResultOf(after), "done")

    def test_one_who_cancels_another_while_they_are_being_told(self) -> None:
        one, two = self.join(), self.join()
        one.addCallback(lambda _: two.cancel())
        self.begun[0].callback("done")
        self.failureResultOf(two, CancelledError)

    def test_a_bug_that_nobody_waits_for_is_logged(self) -> None:
        for error, logged in ((ValueError("a bug"), 1), (ProxyError("none"), 0)):

            async def fail(error: Exception = error) -> str:
                try:
                    return await self.begin()
                finally:
                    raise error

            leaving = Deferred.fromCoroutine(self.single.join("k", fail))
            leaving.cancel()
            self.failureResultOf(leaving, CancelledError)
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), logged)

    def test_work_that_is_done_at_once(self) -> None:
        async def at_once() -> str:
            return "now"

        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(self.single.join("k", at_once))), "now")
        self.assertEqual(len(self.single), 0)
