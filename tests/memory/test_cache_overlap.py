"""The cache while several things happen at once: equal requests, and writes."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import FailedAfterSending, OutcomeUnknown, ProxyError
from hospproxy.http.messages import Origin

from .cache_rig import ANN, BEN, CacheRig, answer, call_of

NO_CACHE = (b"Cache-Control", b"no-cache")


class CollapsingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = CacheRig()

    def test_equal_requests_are_one_fetch(self) -> None:
        first, second, third = (self.rig.send("listHospitals") for _ in range(3))
        self.assertEqual(len(self.rig.hosp), 1)
        self.rig.reply(answer(b"[1]"))
        self.assertEqual([one.response.body for one in (first, second, third)], [b"[1]"] * 3)
        self.assertEqual(
            [one.exchange.trace.cache_status for one in (first, second, third)],
            ["miss", "collapsed", "collapsed"],
        )
        self.assertEqual(second.status, b"hospproxy; fwd=uri-miss; fwd-status=200; collapsed")
        self.assertIs(first.response.origin, Origin.UPSTREAM)
        self.assertIs(second.response.origin, Origin.MEMORY)
        self.assertEqual([one.exchange.trace.attempts for one in (first, second, third)], [1, 0, 0])

    def test_the_first_ones_leaving_does_not_hurt_the_rest(self) -> None:
        first, second = self.rig.send("listHospitals"), self.rig.send("listHospitals")
        first.result.cancel()
        self.assertIsInstance(first.error, CancelledError)
        self.assertFalse(self.rig.hosp[0].cancelled)
        self.rig.reply(answer(b"[1]"))
        self.assertEqual(second.response.body, b"[1]")

    def test_when_all_have_left_the_fetch_ends(self) -> None:
        first, second = self.rig.send("listHospitals"), self.rig.send("listHospitals")
        second.result.cancel()
        self.assertFalse(self.rig.hosp[0].cancelled)
        first.result.cancel()
        self.assertTrue(self.rig.hosp[0].cancelled)
        self.assertEqual(len(self.rig.memory.fills), 0)
        self.assertEqual(self.rig.warm("listHospitals").exchange.trace.cache_status, "miss")

    def test_a_failure_is_everybodys(self) -> None:
        first, second = self.rig.send("listHospitals"), self.rig.send("listHospitals")
        failure = FailedAfterSending("reset")
        self.rig.reply(failure)
        self.assertIs(first.error, failure)
        self.assertIs(second.error, failure)
        self.assertEqual(first.exchange.trace.attempts, 1)
        self.assertEqual(self.rig.warm("listHospitals").exchange.trace.cache_status, "miss")

    def test_each_waits_until_its_own_deadline(self) -> None:
        first = self.rig.send("listHospitals", deadline_s=5)
        self.rig.clock.advance(1)
        second = self.rig.send("listHospitals", deadline_s=10)
        self.rig.clock.advance(4.2)
        error = first.error
        assert isinstance(error, ProxyError)
        self.assertEqual(error.status, 504)
        self.assertEqual(self.rig.hosp[0].exchange.deadline, 1011)
        self.rig.reply(answer(b"[1]"))
        self.assertEqual(second.response.body, b"[1]")
        self.assertEqual(self.rig.clock.getDelayedCalls(), [])

    def test_a_cookie_goes_to_its_asker_alone(self) -> None:
        first, second = self.rig.send("listHospitals"), self.rig.send("listHospitals")
        self.rig.reply(answer(b"[]", (b"Set-Cookie", b"session=1")))
        self.assertEqual(first.response.headers.get(b"set-cookie"), b"session=1")
        self.assertIsNone(second.response.headers.get(b"set-cookie"))

    def test_who_wants_it_from_hosp_waits_for_no_fetch_that_began_before(self) -> None:
        first = self.rig.send("listHospitals")
        fresh = self.rig.send("listHospitals", NO_CACHE)
        third = self.rig.send("listHospitals")
        self.assertEqual(len(self.rig.hosp), 2)
        self.rig.reply(answer(b"[2]"), 1)
        self.rig.reply(answer(b"[1]"), 0)
        self.assertEqual(
            [first.response.body, fresh.response.body, third.response.body], [b"[1]", b"[2]", b"[2]"]
        )
        self.assertEqual(self.rig.send("listHospitals").response.body, b"[2]")

    def test_a_fetch_that_is_older_than_max_age_is_not_joined(self) -> None:
        self.rig.send("listHospitals")
        self.rig.clock.advance(3)
        self.rig.send("listHospitals", (b"Cache-Control", b"max-age=3"))
        self.assertEqual(len(self.rig.hosp), 1)
        self.rig.send("listHospitals", (b"Cache-Control", b"max-age=2"))
        self.assertEqual(len(self.rig.hosp), 2)

    def test_a_failure_with_nobody_waiting_is_logged(self) -> None:
        reading = self.rig.send("listHospitals")
        self.rig.hosp[0].reply._canceller = lambda reply: reply.errback(ZeroDivisionError())  # type: ignore[attr-defined]
        reading.result.cancel()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class WriteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = CacheRig()

    def test_a_write_strikes_before_it_is_sent_and_again_after(self) -> None:
        self.rig.warm("listNotes", answer(b"[1]"))
        self.rig.warm("listNotes", answer(b"[1]"), who=BEN)
        write = self.rig.send(call_of("createNote", document={}))
        between = self.rig.warm("listNotes", answer(b"[1]"))
        self.assertEqual(between.exchange.trace.cache_status, "miss")
        self.assertEqual(self.rig.warm("listNotes", who=BEN).exchange.trace.cache_status, "miss")
        self.rig.reply(answer(b"{}", status=201), 2)
        self.assertEqual(write.status, b"hospproxy; fwd=method; fwd-status=201")
        for who in (ANN, BEN):
            self.assertEqual(
                self.rig.warm("listNotes", answer(b"[2]"), who=who).exchange.trace.cache_status, "miss"
            )

    def test_a_fetch_that_began_before_is_neither_kept_nor_joined(self) -> None:
        early = self.rig.send("listNotes")
        write = self.rig.send(call_of("createNote", document={}))
        during = self.rig.send("listNotes")
        self.rig.reply(answer(b"{}", status=201), 1)
        later = self.rig.send("listNotes")
        self.assertEqual(len(self.rig.hosp), 4)
        for at, body in ((0, b"[0]"), (2, b"[1]"), (3, b"[2]")):
            self.rig.reply(answer(body), at)
        self.assertEqual(write.response.status, 201)
        self.assertEqual(
            [early.response.body, during.response.body, later.response.body], [b"[0]", b"[1]", b"[2]"]
        )
        self.assertIn(b"detail=invalidated", early.status)
        self.assertIn(b"detail=invalidated", during.status)
        self.assertEqual(self.rig.send("listNotes").response.body, b"[2]")

    def test_it_strikes_at_any_outcome(self) -> None:
        for outcome in (
            answer(b"{}", status=500),
            FailedAfterSending("reset"),
            OutcomeUnknown("who knows", reference="r"),
            CancelledError(),
            ZeroDivisionError(),
        ):
            write = self.rig.send(call_of("deleteNote", "7"))
            self.rig.warm(call_of("getNote", "7"))
            self.rig.reply(outcome, -2)
            self.assertTrue(write.outcome)
            self.assertEqual(
                self.rig.warm(call_of("getNote", "7")).exchange.trace.cache_status, "miss", outcome
            )

    def test_a_screening_strikes_nothing(self) -> None:
        self.rig.warm(call_of("getPatient", "1"))
        screening = self.rig.warm(call_of("screenPatient", "1", document={"images": []}))
        self.assertEqual(screening.status, b"hospproxy; fwd=method; fwd-status=200")
        self.assertEqual(self.rig.send(call_of("getPatient", "1")).exchange.trace.cache_status, "hit")

    def test_switched_off_awrite_still_reaches_the_accounts(self) -> None:
        rig = CacheRig(enabled=False)
        rig.accounts.remember(ANN, rig.accounts.ticket())
        rig.send(call_of("updateStaff", "1", document={"password": "new"}))
        self.assertIsNone(rig.accounts.recall(ANN.credentials))

    def test_nothing_is_served_to_an_account_that_is_being_changed(self) -> None:
        """Equal requests still share one fetch; otherwise every client would send its own to HOSP."""
        self.rig.warm("listNotes")
        self.rig.send(call_of("updateStaff", "1", document={"password": "new"}), who=BEN)
        during = self.rig.send("listHospitals")
        joined = self.rig.send("listHospitals")
        self.assertEqual(
            (during.exchange.trace.cache_status, joined.exchange.trace.cache_status), ("bypass", "collapsed")
        )
        self.rig.reply(answer())
        self.assertIn(b"fwd=bypass; fwd-status=200; detail=unsettled", during.status)
        self.assertEqual(len(self.rig.store), 0)
        self.assertEqual(self.rig.warm("listHospitals", who=BEN).exchange.trace.cache_status, "miss")
        self.rig.reply(answer(b"{}"), 1)
        self.assertEqual(self.rig.warm("listHospitals").exchange.trace.cache_status, "miss")
        self.assertEqual(self.rig.send("listHospitals").exchange.trace.cache_status, "hit")

    def test_an_unknown_outcome_leaves_the_account_unsettled_until_it_is_found(self) -> None:
        call = call_of("updateStaff", "1", document={"password": "new"})
        self.rig.send(call, who=BEN)
        self.rig.reply(OutcomeUnknown("who knows", reference="r"))
        self.rig.clock.advance(3600)
        self.assertEqual(self.rig.warm("listHospitals").exchange.trace.cache_status, "bypass")
        self.assertEqual(self.rig.warm("listHospitals").exchange.trace.cache_status, "bypass")
        self.rig.memory.found_later(call)
        self.assertEqual(self.rig.warm("listHospitals").exchange.trace.cache_status, "miss")
        self.assertEqual(self.rig.send("listHospitals").exchange.trace.cache_status, "hit")
