"""A killed simulated process does nothing more, whenever the garbage collector runs."""

from __future__ import annotations

import gc
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from hospproxy.exchange.exchange import Exchange
from hospproxy.http.messages import Response
from hospproxy.interfaces import IProcessor, Proceed
from tests.process_end import ProcessTime
from tests.rig import Rig


@implementer(IProcessor)
class SetsATimerAtItsEnd:
    """Imitates a processor that releases a slot: its ``finally`` uses the clock."""

    rig: Rig

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        rig = self.rig
        try:
            return await proceed(exchange)
        finally:
            rig.time.callLater(5.0, rig.findings.append, ("ref", "after its death"))


class KilledRigTests(SynchronousTestCase):
    """The rig that tests of several processors use."""

    def killed(self) -> tuple[Clock, Deferred[Response]]:
        """A world whose process was killed with a request in flight at HOSP, and what its client still holds."""
        processor = SetsATimerAtItsEnd()
        rig = processor.rig = Rig(put_in={"memory.cache": processor})
        rig.hosp.hold = True
        rig.time.callLater(30.0, rig.findings.append, ("ref", "late"))
        answer = rig.send("GET", "/notes")
        self.assertEqual(len(rig.hosp.held), 1)
        rig.crash()
        rig.hosp.held.clear()
        return rig.world, answer

    def test_the_garbage_collector_finds_nothing_to_run(self) -> None:
        clock, answer = self.killed()
        before = list(clock.calls)
        del answer
        gc.collect()
        self.assertEqual(clock.calls, before)

    def test_its_timers_are_gone_from_the_worlds_clock(self) -> None:
        processes = Rig()
        processes.time.callLater(30.0, int)
        self.assertEqual(len(processes.world.calls), 1)
        processes.crash()
        self.assertEqual([call for call in processes.world.calls if call.getTime() == 30.0], [])

    def test_an_answer_that_comes_for_it_changes_nothing(self) -> None:
        rig = Rig()
        rig.hosp.hold = True
        answer = rig.send("GET", "/notes")
        rig.crash()
        rig.hosp.held[0].callback(None)
        self.assertNoResult(answer)


class ProcessTimeTests(SynchronousTestCase):
    """Coroutines and timers of one process."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.time = ProcessTime(self.clock)
        self.log: list[str] = []

    def start(self, coroutine: Any) -> Deferred[Any]:
        return self.time.run(Deferred.fromCoroutine, coroutine)

    async def waiting(self, name: str, until: Deferred[None]) -> str:
        try:
            await until
            self.log.append(f"{name} went on")
        finally:
            self.log.append(f"{name} closed")
        return name

    def test_results_errors_and_cancelling_are_as_without_it(self) -> None:
        until: Deferred[None] = Deferred()
        one = self.start(self.waiting("one", until))
        until.callback(None)
        self.assertEqual(self.successResultOf(one), "one")
        cancelled = self.start(self.waiting("two", Deferred()))
        cancelled.addErrback(lambda failure: self.log.append(failure.type.__name__))
        cancelled.cancel()
        self.assertEqual(self.log, ["one went on", "one closed", "two closed", "CancelledError"])
        self.assertEqual(len(self.time.coroutines), 0)

    def test_what_a_coroutine_starts_later_belongs_to_its_process_too(self) -> None:
        until: Deferred[None] = Deferred()

        async def starting() -> None:
            await until
            Deferred.fromCoroutine(self.waiting("child", Deferred()))

        self.start(starting())
        until.callback(None)  # by the world, outside of the process
        self.time.end()
        self.assertEqual(self.log, ["child closed"])

    def test_what_a_timer_starts_belongs_to_its_process_too(self) -> None:
        self.time.callLater(1.0, lambda: Deferred.fromCoroutine(self.waiting("child", Deferred())))
        self.clock.advance(1.0)
        self.time.end()
        self.assertEqual(self.log, ["child closed"])

    def test_closing_one_resumes_no_other(self) -> None:
        until: Deferred[None] = Deferred()

        async def fires() -> None:
            try:
                await Deferred()
            finally:
                until.callback(None)

        self.start(fires())
        self.start(self.waiting("other", until))
        self.time.end()
        self.assertEqual(self.log, ["other closed"])

    def test_an_await_and_an_error_in_a_finally_hold_up_nothing(self) -> None:
        async def stubborn() -> None:
            try:
                await Deferred()
            finally:
                await deferLater(self.time, 1.0)  # type: ignore[arg-type]
                raise OSError("never seen")

        self.start(stubborn())
        self.start(self.waiting("other", Deferred()))
        self.time.end()
        self.assertEqual((self.log, self.clock.calls), (["other closed"], []))

    def test_one_that_ends_its_own_process_goes_no_further_than_where_it_would_wait(self) -> None:
        async def killing() -> None:
            try:
                self.time.end()
                await deferLater(self.clock, 0.0)
                self.log.append("went on")
            finally:
                self.log.append("closed")

        self.start(killing())
        self.assertEqual(self.log, ["closed"])

    def test_a_dead_process_starts_nothing(self) -> None:
        self.time.end()
        self.start(self.waiting("late", Deferred()))
        self.time.callLater(0.0, self.log.append, "timer").cancel()
        self.time.callLater(0.0, self.log.append, "timer")
        self.clock.advance(1.0)
        self.assertEqual((self.log, self.clock.calls), ([], []))

    def test_a_timer_that_went_with_its_process_can_still_be_cancelled(self) -> None:
        timer = self.time.callLater(5.0, self.log.append, "timer")
        self.time.end()
        self.assertTrue(timer.active())
        timer.reset(1.0)
        timer.cancel()
        self.clock.advance(10.0)
        self.assertEqual(self.log, [])

    def test_the_timers_of_another_process_stay(self) -> None:
        ProcessTime(self.clock).callLater(1.0, self.log.append, "other")
        self.time.end()
        self.clock.advance(1.0)
        self.assertEqual(self.log, ["other"])

    def test_outside_of_a_process_nothing_is_kept(self) -> None:
        outside = Deferred.fromCoroutine(self.waiting("free", Deferred()))
        self.time.end()
        self.assertEqual(self.log, [])
        outside.addErrback(lambda _: None)
        outside.cancel()
