"""The steps of a replacement, and the way back from each: one owner of the state folder at every moment."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.control.owner import ReplacementFailed
from hospproxy.exchange.exchange import Deadline, Exchange
from hospproxy.http.errors import ProxyError
from hospproxy.http.messages import Request, Response
from hospproxy.replacement.hold import HITS_S, Hold, StateNotClosed
from hospproxy.replacement.messages import TakeOver, ToSuccessor
from hospproxy.replacement.relay import Relay
from hospproxy.replacement.replacement import OneProcess, Replacement

QUIET_S = 30.0


class Named:
    """A chain that says its name in the status."""

    def __init__(self, status: int) -> None:
        self.status = status

    async def answer(self, exchange: Exchange) -> Response:
        return Response(self.status)

    async def refusal(self, exchange: Exchange, error: ProxyError) -> Response:
        return Response(self.status)


class Machine:
    """The state folder: it notes when two processes have it open."""

    def __init__(self) -> None:
        self.open_in = {"old"}
        self.most = 1

    def opened(self, name: str) -> None:
        self.open_in.add(name)
        self.most = max(self.most, len(self.open_in))


class FakeProxy:
    """The proxy of the old process, with requests that the test ends."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.chain, self.again = Named(1), Named(2)
        self.steps: list[str] = []
        self.relay: Relay | None = None
        self.requests = self.hits = 0
        self.closing: Deferred[None] | None = None
        self.trouble: Exception | None = None

    def divert(self, relay: Relay | None) -> None:
        self.relay = relay
        self.steps.append("hold" if relay is not None else "go on")

    def in_flight(self, *, shortcuts: bool) -> int:
        waiting = 0 if self.relay is None else self.relay.waiting
        return self.requests + waiting + (self.hits if shortcuts else 0)

    def pause(self) -> None:
        self.steps.append("pause")

    def resume(self) -> None:
        self.steps.append("resume")

    async def close(self) -> None:
        self.steps.append("close")
        if self.trouble is not None:
            raise self.trouble
        if self.closing is not None:
            await self.closing
        self.machine.open_in.discard("old")

    def reopen(self) -> Named:
        self.steps.append("reopen")
        self.machine.opened("old")
        return self.again

    def give_up(self) -> None:
        self.steps.append("give up")


class FakeSuccessor:
    """The new process; the test says what becomes of it."""

    pid = 4711

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.is_prepared: Deferred[str] = Deferred()
        self.is_serving: Deferred[None] = Deferred()
        self.said: list[ToSuccessor] = []
        self.alive = True

    def say(self, message: ToSuccessor) -> None:
        self.said.append(message)
        if isinstance(message, TakeOver):
            self.machine.opened("new")

    async def prepared(self, timeout_s: float) -> str:
        return await self.is_prepared

    async def serving(self, timeout_s: float) -> None:
        await self.is_serving

    async def end(self) -> None:
        self.alive = False
        self.machine.open_in.discard("new")


class ReplacementTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.machine = Clock(), Machine()
        self.proxy, self.successor = FakeProxy(self.machine), FakeSuccessor(self.machine)
        self.progress: list[str] = []
        old = OneProcess(Hold(self.clock, self.proxy, QUIET_S), Named(3))
        self.replacement = Replacement(old, self.successor, self.progress.append)
        self.outcome = Deferred.fromCoroutine(self.replacement.run())
        self.addCleanup(lambda: self.assertEqual(self.machine.most, 1, "the folder had two owners"))

    def arrive(self) -> Deferred[Response]:
        """A request on an open connection."""
        there: Any = self.proxy.relay or self.proxy.chain
        return Deferred.fromCoroutine(there.answer(Exchange(Request(), 0.0, 0.0, Deadline(28.0))))

    def later(self, seconds: float = 0.1) -> None:
        self.clock.pump([0.01] * round(seconds * 100))

    def prepare(self) -> None:
        self.successor.is_prepared.callback("2.0")
        self.later()

    def assert_goes_on(self, owner: str) -> None:
        """The replacement has failed, the old process serves, and nothing of the new one is left."""
        self.assertFalse(self.successor.alive)
        self.assertEqual(self.machine.open_in, {owner})
        self.assertEqual(self.proxy.steps.count("give up"), 0)

    def test_in_order(self) -> None:
        self.assertEqual(self.proxy.steps, [])
        self.prepare()
        waits = self.arrive()
        self.assertNoResult(waits)
        self.assertEqual(self.proxy.steps, ["hold", "pause", "close"])
        self.successor.is_serving.callback(None)
        self.assertEqual(self.successResultOf(self.outcome), "2.0")
        self.assertEqual(self.proxy.steps, ["hold", "pause", "close", "give up"])
        self.assertEqual(self.successResultOf(waits).status, 3)
        self.assertEqual(self.machine.open_in, {"new"})
        self.assertEqual(
            self.progress,
            [
                "a new process is started (4711)",
                "hospproxy 2.0 is prepared (process 4711)",
                "the state folder is closed; the new process opens it",
            ],
        )

    def test_one_that_does_not_start_changes_nothing(self) -> None:
        self.successor.is_prepared.errback(ReplacementFailed("the new process exited with status 1: no"))
        self.failureResultOf(self.outcome, ReplacementFailed)
        self.assertEqual(self.proxy.steps, [])
        self.assert_goes_on("old")

    def test_requests_in_flight_are_waited_for(self) -> None:
        self.proxy.requests = 2
        self.prepare()
        self.assertEqual(self.proxy.steps, ["hold"])
        self.proxy.requests = 0
        self.later()
        self.assertEqual(self.proxy.steps, ["hold", "pause", "close"])
        self.successor.is_serving.callback(None)
        self.successResultOf(self.outcome)

    def test_answers_by_shortcuts_go_on_until_the_rest_is_over(self) -> None:
        self.proxy.requests, self.proxy.hits = 1, 1
        self.prepare()
        self.assertEqual(self.proxy.steps, ["hold"])
        self.proxy.requests = 0
        self.later()
        self.assertEqual(self.proxy.steps, ["hold", "pause"])
        self.proxy.hits = 0
        self.later()
        self.assertEqual(self.proxy.steps[-1], "close")
        self.successor.is_serving.callback(None)
        self.successResultOf(self.outcome)

    def test_requests_that_do_not_end_prevent_it_and_nothing_is_lost(self) -> None:
        self.proxy.requests = 1
        self.prepare()
        waits = self.arrive()
        self.later(QUIET_S + 1)
        self.assertIn("1 requests were still in flight", str(self.failureResultOf(self.outcome).value))
        self.assertEqual(self.proxy.steps, ["hold", "resume", "go on"])
        self.assertEqual(self.successResultOf(waits).status, 1)
        self.assert_goes_on("old")

    def test_an_answer_by_a_shortcut_that_does_not_end_prevents_it_too(self) -> None:
        self.proxy.hits = 1
        self.prepare()
        self.later(HITS_S + 1)
        self.failureResultOf(self.outcome, ReplacementFailed)
        self.assertEqual(self.proxy.steps, ["hold", "pause", "resume", "go on"])
        self.assert_goes_on("old")

    def test_a_stop_meanwhile_leads_back_first(self) -> None:
        self.proxy.requests = 1
        self.prepare()
        waits = self.arrive()
        self.outcome.cancel()
        self.failureResultOf(self.outcome, CancelledError)
        self.assertEqual(self.successResultOf(waits).status, 1)
        self.assert_goes_on("old")

    def test_one_that_dies_while_it_opens_the_folder_is_gone_before_the_folder_is_opened_again(self) -> None:
        self.prepare()
        waits = self.arrive()
        self.successor.is_serving.errback(ReplacementFailed("the new process exited by signal 9"))
        self.failureResultOf(self.outcome, ReplacementFailed)
        self.assertEqual(self.proxy.steps, ["hold", "pause", "close", "reopen"])
        self.assertEqual(self.successResultOf(waits).status, 2)
        self.assert_goes_on("old")

    def test_a_folder_that_cannot_be_closed_is_not_handed_over(self) -> None:
        self.proxy.trouble = StateNotClosed("journal")
        self.prepare()
        self.failureResultOf(self.outcome, StateNotClosed)
        self.assertEqual(self.successor.said, [])
        self.assertTrue(self.successor.alive)  # it takes over when this process is dead

    def test_it_takes_over_only_what_is_closed(self) -> None:
        self.proxy.closing = Deferred()
        self.prepare()
        self.assertEqual((self.successor.said, self.replacement.committed), ([], True))
        self.proxy.closing.callback(None)
        self.assertEqual(self.successor.said, [TakeOver()])
        self.successor.is_serving.callback(None)
        self.successResultOf(self.outcome)
