"""Background work is looked after until it ends."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogEvent, Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.process.background import Background
from hospproxy.watch.metrics import Metrics


class ExpectedError(Exception):
    pass


class BackgroundTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        self.meter = Metrics(strict=True)
        log = Logger("hospproxy.part", observer=self.events.append)
        self.background = Background(
            log, "{part} failed", self.meter, expected=(ExpectedError,), part="the part"
        )

    def begin(self, ended: Any = None) -> tuple[Deferred[str], Deferred[None]]:
        """Start work; return what it waits for, and what fires when it is over."""
        waits: Deferred[str] = Deferred()

        async def work() -> str:
            return await waits

        return waits, self.background.run(work(), ended)

    def failures(self) -> int:
        return int(self.meter.value("unhandled_errors_total") or 0)

    def test_it_is_looked_after_until_its_end(self) -> None:
        outcomes: list[object] = []
        waits, over = self.begin(outcomes.append)
        self.assertEqual((len(self.background), outcomes), (1, []))
        waits.callback("done")
        self.assertIsNone(self.successResultOf(over))
        self.assertEqual((len(self.background), outcomes, self.events), (0, ["done"], []))

    def test_work_that_ends_at_once(self) -> None:
        async def at_once() -> None:
            pass

        self.assertIsNone(self.successResultOf(self.background.run(at_once())))
        self.assertEqual(len(self.background), 0)

    def test_an_unexpected_failure_is_logged_and_counted(self) -> None:
        outcomes: list[Any] = []
        waits, over = self.begin(outcomes.append)
        waits.errback(ValueError("a bug"))
        self.assertIsNone(self.successResultOf(over))
        [event] = self.events
        self.assertEqual((event["log_format"], event["part"]), ("{part} failed", "the part"))
        self.assertIs(event["log_failure"].type, ValueError)
        self.assertEqual(event["log_namespace"], "hospproxy.part")
        self.assertEqual(self.failures(), 1)
        self.assertIsInstance(outcomes[0], Failure)

    def test_an_expected_failure_is_neither(self) -> None:
        for error in (ExpectedError(), CancelledError()):
            waits, over = self.begin()
            waits.errback(error)
            self.assertIsNone(self.successResultOf(over))
        self.assertEqual((self.events, self.failures()), ([], 0))

    def test_a_failure_of_what_follows_is_logged_too(self) -> None:
        def ended(_: object) -> None:
            raise ValueError("a bug")

        waits, over = self.begin(ended)
        waits.callback("done")
        self.assertIsNone(self.successResultOf(over))
        self.assertEqual((len(self.events), self.failures()), (1, 1))

    def test_a_part_without_metrics(self) -> None:
        failed: Deferred[None] = Deferred()
        Background(Logger(observer=self.events.append), "failed").run(failed)
        failed.errback(ValueError("a bug"))
        self.assertEqual(len(self.events), 1)

    def test_a_stop_cancels_all_of_it(self) -> None:
        begun = [self.begin()[1] for _ in range(3)]
        self.background.stop()
        for over in begun:
            self.successResultOf(over)
        self.assertEqual((len(self.background), self.events), (0, []))

    def test_a_wait_for_its_end(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.background.idle()))
        first, second = self.begin()[0], self.begin()[0]
        idle = Deferred.fromCoroutine(self.background.idle())
        first.callback("done")
        self.begin()
        self.assertNoResult(idle)
        second.errback(ExpectedError())
        self.successResultOf(idle)

    def test_a_wait_that_is_given_up_leaves_the_work_alone(self) -> None:
        waits, over = self.begin()
        idle = Deferred.fromCoroutine(self.background.idle())
        idle.cancel()
        self.failureResultOf(idle, CancelledError)
        self.assertNoResult(over)
        waits.callback("done")
        self.successResultOf(over)
