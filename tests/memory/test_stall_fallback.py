"""While HOSP is silent for longer than usual, waiting clients get the cached response, and the fetch continues."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import FailedAfterSending
from hospproxy.http.messages import Origin

from .cache_rig import BEN, CacheRig, answer, call_of

OLD = 1000.0
"""Seconds after which no entry is fresh, and none is served while it is refreshed."""


class Silence:
    def __init__(self) -> None:
        self.stalled = False
        self.waiting: list[Deferred[None]] = []

    def noticed(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self.waiting.append(waiting)
        if self.stalled:
            waiting.callback(None)
        return waiting

    def begin(self) -> None:
        self.stalled = True
        for one in self.waiting:
            if not one.called:
                one.callback(None)


class StallingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.silence = Silence()
        self.rig = CacheRig(renews=True, stalls=self.silence)

    def old(self, name: str = "listHospitals") -> None:
        self.rig.warm(name, answer(b"[1]"))
        self.rig.clock.advance(OLD)

    def test_who_waits_is_given_what_is_kept(self) -> None:
        self.old()
        reading = self.rig.send("listHospitals")
        self.assertEqual(reading.outcome, [])
        self.silence.begin()
        self.assertEqual((reading.response.body, reading.response.origin), (b"[1]", Origin.MEMORY))
        self.assertEqual(reading.status, b"hospproxy; hit; ttl=-700; detail=stale-while-stalled")
        self.assertEqual(reading.response.headers.get(b"age"), b"1000")
        self.assertEqual((reading.exchange.trace.cache_status, reading.exchange.trace.attempts), ("stale", 1))

    def test_hosp_goes_on_being_asked_and_its_answer_is_kept(self) -> None:
        self.old()
        self.rig.send("listHospitals")
        self.silence.begin()
        self.assertFalse(self.rig.hosp[-1].cancelled)
        self.rig.reply(answer(b"[2]"))
        self.silence.stalled = False
        self.assertEqual(self.rig.send("listHospitals").response.body, b"[2]")

    def test_its_failure_is_nobodys(self) -> None:
        self.old()
        reading = self.rig.send("listHospitals")
        self.silence.begin()
        self.rig.reply(FailedAfterSending("late", timed_out=True))
        self.assertEqual(reading.response.body, b"[1]")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_who_comes_then_waits_for_nothing_and_it_is_renewed(self) -> None:
        self.old()
        self.silence.begin()
        reading = self.rig.send("listHospitals")
        self.assertEqual(reading.response.body, b"[1]")
        self.assertIn(b"stale-while-stalled", reading.status)
        self.assertEqual([exchange.own for exchange in self.rig.own], ["refresh"])
        self.rig.send("listHospitals")
        self.assertEqual(len(self.rig.own), 1)

    def test_nor_where_nothing_can_be_renewed_behind_its_back(self) -> None:
        self.rig = CacheRig(stalls=self.silence)
        self.old()
        self.silence.begin()
        self.assertEqual(self.rig.send("listHospitals").response.body, b"[1]")
        self.assertFalse(self.rig.hosp[-1].cancelled)

    def test_where_nothing_is_kept_hosp_is_waited_for(self) -> None:
        reading = self.rig.send("listHospitals")
        self.silence.begin()
        self.assertEqual(reading.outcome, [])
        self.rig.reply(answer(b"[3]"))
        self.assertEqual(reading.response.body, b"[3]")

    def test_another_gets_nothing_of_it(self) -> None:
        self.old()
        reading = self.rig.send("listHospitals", who=BEN)
        self.silence.begin()
        self.assertEqual(reading.outcome, [])

    def test_what_a_write_has_struck_is_not_given_for_a_suspicion(self) -> None:
        self.old()
        self.rig.warm(call_of("createHospital", document={"name": "Barn"}), answer(b"{}", status=201))
        reading = self.rig.send("listHospitals")
        self.silence.begin()
        self.assertEqual(reading.outcome, [])

    def test_nor_to_a_client_that_wants_a_fresh_one(self) -> None:
        self.old()
        reading = self.rig.send("listHospitals", (b"Cache-Control", b"no-cache"))
        self.silence.begin()
        self.assertEqual(reading.outcome, [])

    def test_a_client_that_leaves_ends_its_fetch_as_always(self) -> None:
        self.old()
        reading = self.rig.send("listHospitals")
        reading.result.cancel()
        self.assertIsInstance(reading.error, CancelledError)
        self.assertTrue(self.rig.hosp[-1].cancelled)
        self.assertEqual(self.flushLoggedErrors(), [])
