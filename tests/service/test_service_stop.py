"""Stopping the service: no part that fails or hangs keeps the others from ending."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import Settings, UpstreamSettings
from hospproxy.process.shutdown import GRACE_S, STEPS_S
from hospproxy.service.service import DRAINED_S, ProxyService

SETTINGS = Settings(upstream=UpstreamSettings(url="http://127.0.0.1:1"), drain_s=30.0)
ENDINGS = (
    "listeners.stop", "parts.screening.idle", "parts.prober.stop", "parts.writes.stop", "parts.cache.refresher.stop",
    "parts.screening.stop", "_tidying.stop", "parts.upstream.close", "parts.places.stop", "parts.admission.stop",
    "parts.claims.stop", "parts.shared.stop", "parts.ledger.shut", "parts.disk.shut", "admin.stop", "audit_page.stop",
    "status.stop", "parts.courier.noticed", "parts.journal.close", "parts.courier.stop",
)  # fmt: skip
"""What a stop must call, in this order."""


AT_ONCE = ("parts.screening.stop", "_tidying.stop")
"""Calls whose result the stop does not wait for."""


def hanging(name: str) -> Any:
    """A part that never ends."""

    async def idle() -> None:
        await Deferred()

    return idle if name == "parts.screening.idle" else lambda *_: Deferred()


class Broken(Exception):
    """Raised by a part."""


class StopTests(SynchronousTestCase):
    """A service with fake parts."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.ended: list[str] = []
        self.service = ProxyService.__new__(ProxyService)
        self.service.running = 1
        self.service._settings = SETTINGS
        self.service._reactor = self.clock
        for name in ("listeners", "admin", "audit_page", "status", "parts", "_tidying", "control"):
            setattr(self.service, name, mock.Mock())
        for name in ENDINGS:
            self.let(name, self.orderly(name))

    def let(self, name: str, how: Any) -> None:
        """Set what a part does when it is stopped."""
        *path, last = name.split(".")
        part: Any = self.service
        for each in path:
            part = getattr(part, each)
        setattr(part, last, how)

    def orderly(self, name: str) -> Any:
        def end(*_args: Any) -> Any:
            self.ended.append(name)
            if name == "parts.screening.stop":
                return 0
            if name == "parts.screening.idle":
                return self.idle()
            return succeed(None)

        return end

    async def idle(self) -> None:
        pass

    def stop(self) -> list[str]:
        """Stop in virtual time, within the time that a supervisor and systemd allow; return what did not end."""
        stopping = self.service.stopService()
        begun = self.clock.seconds()
        self.clock.pump([0.05] * 1000)
        self.successResultOf(stopping)
        self.assertLess(self.clock.seconds() - begun, 51.0)
        return self.service.left

    def test_all_end_in_order(self) -> None:
        self.assertEqual(self.successResultOf(self.service.stopService()), None)
        self.assertEqual(self.ended, list(ENDINGS))
        self.assertEqual(self.service.left, [])
        self.assertEqual(self.clock.calls, [])

    def test_whichever_raises_the_others_end(self) -> None:
        for name in ENDINGS:
            self.setUp()
            self.let(name, mock.Mock(side_effect=Broken))
            left = self.stop()
            self.assertEqual(self.ended, [each for each in ENDINGS if each != name])
            self.assertEqual((len(left), len(self.flushLoggedErrors(Broken))), (1, 1), name)

    def test_whichever_fails_later_the_others_end(self) -> None:
        for name in ENDINGS:
            if name == "parts.screening.idle" or name in AT_ONCE:
                continue
            self.setUp()
            self.let(name, lambda *_: fail(Broken()))
            left = self.stop()
            self.assertEqual(self.ended, [each for each in ENDINGS if each != name])
            self.assertEqual((len(left), len(self.flushLoggedErrors(Broken))), (1, 1), name)

    def test_whichever_never_ends_the_others_do(self) -> None:
        for name in ENDINGS:
            if name in AT_ONCE:
                continue
            self.setUp()
            self.let(name, hanging(name))
            left = self.stop()
            self.assertEqual(self.ended, [each for each in ENDINGS if each != name], name)
            self.assertEqual(len(left), name != "parts.screening.idle", name)

    def test_where_none_ends_it_is_over_before_the_process_is_ended_by_force(self) -> None:
        for name in ENDINGS:
            if name not in AT_ONCE:
                self.let(name, hanging(name))
        stopping = self.service.stopService()
        self.clock.pump([0.05] * int((SETTINGS.drain_s + GRACE_S - 1.0) / 0.05))
        self.successResultOf(stopping)

    def test_the_journal_has_time_though_all_before_it_hang(self) -> None:
        for name in ENDINGS[: ENDINGS.index("parts.journal.close")]:
            if name not in AT_ONCE:
                self.let(name, hanging(name))
        self.let("parts.journal.close", lambda: self.later(1.0))
        left = self.stop()
        self.assertNotIn("journal", left)
        self.assertEqual(self.ended[-1], "parts.courier.stop")

    def later(self, seconds: float) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self.clock.callLater(seconds, done.callback, None)
        return done

    def test_what_the_steps_need_is_what_they_have(self) -> None:
        self.assertEqual(sum(step.needs_s for step in self.service.ending()), STEPS_S)
        self.assertLess(DRAINED_S + STEPS_S + 2.0, GRACE_S)

    def test_before_it_has_begun(self) -> None:
        """An aborted start has no ledger to tidy."""
        self.service._tidying = None
        self.assertEqual(self.stop(), [])


class TidyTests(SynchronousTestCase):
    def test_clearing_the_ledger_goes_on_after_a_failure(self) -> None:
        service = ProxyService.__new__(ProxyService)
        service.parts = mock.Mock()

        async def failing() -> None:
            raise Broken

        service.parts.writes.tidy = failing
        self.successResultOf(service._tidy())
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)
