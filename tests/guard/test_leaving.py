"""Clients that break their connections: HOSP gets no more requests in flight, and the guard learns their results."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from hospproxy.exchange.exchange import Call
from hospproxy.guard.admission.claim_keys import ClaimKeys
from hospproxy.guard.admission.processor import Admission
from hospproxy.guard.admission.refusals import RefusalCache
from hospproxy.guard.identity import IdentityCheck
from hospproxy.http.errors import FailedAfterSending
from hospproxy.http.messages import Client, Response
from hospproxy.interfaces import IUpstream
from hospproxy.memory.accounts import Accounts
from hospproxy.memory.cache import Cache
from hospproxy.memory.memory import Memory
from hospproxy.memory.store import LruStore
from hospproxy.options.admission_section import AdmissionSettings
from hospproxy.options.gate_section import BreakerSettings, GateSettings
from hospproxy.options.sections import CacheSettings
from hospproxy.outward.gate.gate import Gate
from hospproxy.outward.upstream import UpstreamProcessor
from hospproxy.record.patient import PatientOfRecord
from hospproxy.watch.metrics import Metrics
from tests.rig import CONTRACT, STAFF1, Rig, SmallHosp

NOTE = {"title": "t", "body": "b", "patient_id": 7}


@implementer(IUpstream)
class Working:
    """A slow HOSP that keeps working when a connection breaks, and counts its requests in flight."""

    def __init__(self, clock: Clock, hosp: SmallHosp) -> None:
        self.clock, self.hosp = clock, hosp
        self.takes_s = 4.0
        self.in_hand = self.most = self.asked = 0

    async def send(
        self, call: Call, client: Client, timeout_s: float, on_sent: Callable[[], None] | None = None
    ) -> Response:
        if on_sent is not None:
            on_sent()
        self.asked += 1
        self.in_hand += 1
        self.most = max(self.most, self.in_hand)
        heard: Deferred[Response] = Deferred()
        self.clock.callLater(self.takes_s, self._finish, call, heard)
        late = FailedAfterSending("late", timed_out=True)
        timer = self.clock.callLater(timeout_s, lambda: heard.called or heard.errback(late))
        try:
            return await heard
        finally:
            if timer.active():
                timer.cancel()

    def _finish(self, call: Call, heard: Deferred[Response]) -> None:
        self.in_hand -= 1
        answer = self.hosp.answer(call)
        if not heard.called:
            heard.callback(answer)


class GuardRig:
    """The chain from admission to the gate, and that HOSP behind it."""

    def __init__(self) -> None:
        self.clock = clock = Clock()
        self.hosp = SmallHosp(clock)
        self.working = Working(clock, self.hosp)
        self.accounts = Accounts(clock, 100, 300, 43200)
        self.refusals = RefusalCache(clock, 60.0, 100, 25.0)
        self.meter = Metrics(strict=True)
        memory = Memory(CONTRACT, self.accounts, LruStore(1 << 20), clock, let_in=self.refusals.written)
        settings = AdmissionSettings(account_free=3, address_free=50, delay_s=8)
        keys = ClaimKeys(b"i" * 32, b"n" * 32)
        self.admission = Admission(
            settings, keys, self.accounts, self.refusals, clock, self.meter, heartbeat_s=0.5
        )
        self.identity = IdentityCheck(
            CONTRACT, self.accounts, self.ask, b"i" * 32, self.meter, refusals=self.refusals
        )
        settings, breaker = GateSettings(concurrency=5, max_queue=512), BreakerSettings(enabled=False)
        self.rig = Rig(
            clock=clock,
            hosp=self.hosp,
            put_in={
                "guard.admission": self.admission,
                "guard.identity": self.identity,
                "record.patient": PatientOfRecord(CONTRACT, self.ask, clock),
                "memory.cache": Cache(CacheSettings(), CONTRACT, memory, clock, self.meter, self.ask),
                "outward.gate": Gate(clock, settings, breaker, self.meter),
                "outward.upstream": UpstreamProcessor(self.working, clock, finish_s=settings.finish_s),
            },
        )
        self.answers: list[Deferred[Any]] = []

    def ask(self, *args: Any, **kwargs: Any) -> Any:
        return self.rig.ask(*args, **kwargs)

    def send(self, method: str, target: str, *args: Any, **kwargs: Any) -> Deferred[Any]:
        answer = self.rig.send(method, target, *args, **kwargs)
        answer.addErrback(lambda failure: failure.trap(CancelledError) and None)
        self.answers.append(answer)
        return answer

    def pass_s(self, seconds: float) -> None:
        self.clock.pump([0.1] * round(seconds * 10))

    def close(self) -> None:
        for answer in self.answers:
            answer.cancel()
        self.pass_s(60.0)


def as_(name: str, password: str = "wrong") -> bytes:
    return b"Basic " + base64.b64encode(f"{name}:{password}".encode())


class LeavingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.guard_rig = GuardRig()
        self.addCleanup(self.guard_rig.close)

    def leave(self, *args: Any, **kwargs: Any) -> None:
        self.guard_rig.send(*args, **kwargs).cancel()

    def test_sixty_unknown_names_whose_clients_leave_are_five_in_hand(self) -> None:
        for number in range(60):
            self.leave("GET", "/hospitals", auth=as_(f"nobody{number}"))
        self.assertEqual((self.guard_rig.working.most, self.guard_rig.working.asked), (5, 5))
        self.guard_rig.pass_s(4.5)
        self.assertEqual((self.guard_rig.working.asked, self.guard_rig.working.in_hand), (5, 0))
        self.assertEqual(self.guard_rig.meter.value("admission_failures_total"), 5)

    def test_a_guess_whose_client_leaves_is_learned_from(self) -> None:
        for path, name in (("/notes", "staff1"), ("/staffs/me", "staff2")):
            for number in range(3):
                self.leave("GET", path, auth=as_(name, f"{number}"))
                self.guard_rig.pass_s(4.5)
        self.assertEqual(self.guard_rig.meter.value("admission_failures_total"), 6)
        # Refused a moment ago: HOSP is not asked again.
        before = self.guard_rig.working.asked
        for name in ("staff1", "staff2"):
            answer = self.guard_rig.rig.get(self.guard_rig.send("GET", "/notes", auth=as_(name, "2")))
            self.assertEqual((answer.status, self.guard_rig.working.asked), (401, before))
        # And the next guess waits: three are free.
        for name in ("staff1", "staff2"):
            self.guard_rig.send("GET", "/notes", auth=as_(name, "next"))
        self.assertEqual(
            (self.guard_rig.working.asked, self.guard_rig.meter.value("admission_waiting")), (before, 2)
        )

    def test_a_right_one_too(self) -> None:
        self.leave("GET", "/notes", auth=STAFF1)
        self.guard_rig.pass_s(4.5)
        self.assertEqual(self.guard_rig.working.asked, 1, "nothing is asked for somebody who has left")
        self.assertTrue(self.guard_rig.identity.has_accepted("staff1"))
        answer = self.guard_rig.send("GET", "/notes", auth=STAFF1)
        self.guard_rig.pass_s(4.5)
        self.assertEqual((answer.result.status, self.guard_rig.working.asked), (200, 2))

    def test_leaving_is_no_way_to_guess_faster(self) -> None:
        """A request in flight counts as a failure until HOSP has responded, even if its client has left."""
        for number in range(20):
            self.leave("GET", "/notes", auth=as_("staff1", f"no{number}"))
        self.assertEqual(self.guard_rig.working.asked, 3)

    def test_one_who_waits_for_a_place_and_leaves_asks_nothing(self) -> None:
        kept = [self.guard_rig.send("GET", "/hospitals", auth=as_(f"nobody{number}")) for number in range(5)]
        self.leave("GET", "/hospitals", auth=as_("somebody"))
        self.guard_rig.pass_s(10.0)
        self.assertEqual((self.guard_rig.working.asked, {one.result.status for one in kept}), (5, {401}))

    def test_ten_deletes_on_a_slow_day_are_five_in_hand(self) -> None:
        """The look for the record's owner gives up after a quarter of the time."""
        self.guard_rig.rig.get(self.guard_rig.send("GET", "/notes"))
        rows = self.guard_rig.hosp.records["notes"]
        rows += [{**NOTE, "id": number, "staff_id": 1} for number in range(1, 11)]
        self.guard_rig.working.takes_s = 12.0
        answers = [self.guard_rig.send("DELETE", f"/notes/{number}") for number in range(1, 11)]
        self.guard_rig.pass_s(60.0)
        self.assertLessEqual(self.guard_rig.working.most, 5)
        self.assertGreater([one.result.status for one in answers].count(200), 1)
