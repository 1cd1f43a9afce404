"""Single-flight: one piece of work for callers that want the same at the same time."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.single_flight import Joint


class JointTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.joint: Joint[str] = Joint()
        self.begun: list[Deferred[str]] = []
        self.cancelled = 0

    def _cancelled(self, _: Deferred[str]) -> None:
        self.cancelled += 1

    def begin(self) -> Deferred[str]:
        self.begun.append(Deferred(self._cancelled))
        return self.begun[-1]

    def join(self, key: str = "k") -> Deferred[str]:
        return Deferred.fromCoroutine(self.joint.join(key, self.begin))

    def test_equal_work_is_done_once_and_work_after_it_anew(self) -> None:
        one, two, other = self.join(), self.join(), self.join("other")
        self.assertEqual((len(self.begun), len(self.joint)), (2, 2))
        self.begun[0].callback("done")
        self.assertEqual([self.successResultOf(one), self.successResultOf(two)], ["done", "done"])
        self.assertNoResult(other)
        self.assertFalse(self.joint.running("k"))
        self.join()
        self.assertEqual(len(self.begun), 3)

    def test_a_failure_is_everybodys(self) -> None:
        one, two = self.join(), self.join()
        self.begun[0].errback(ValueError("x"))
        self.failureResultOf(one, ValueError)
        self.failureResultOf(two, ValueError)

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
        self.assertEqual((self.cancelled, len(self.joint)), (1, 0))

    def test_work_that_is_done_at_once(self) -> None:
        async def at_once() -> str:
            return "now"

        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(self.joint.join("k", at_once))), "now")
        self.assertEqual(len(self.joint), 0)
