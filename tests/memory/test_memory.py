from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import (
    BadAnswer,
    BreakerOpen,
    FailedAfterSending,
    NotSent,
    OutcomeUnknown,
    OverCapacity,
    ProxyError,
    RecordFailed,
    Refused,
)
from hospproxy.http.messages import Origin, Response
from hospproxy.memory import memory as memory_module

from .cache_rig import ANN, BEN, CacheRig, answer, call_of

UNKNOWN = OutcomeUnknown("who knows", reference="r")


class AroundWriteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.away = False
        self.rig = CacheRig(away=lambda: self.away)
        self.memory = self.rig.memory
        self.call = call_of("updateStaff", "1", document={"password": "new"})

    def write(self, outcome: object, found_within: bool = False) -> None:
        async def send() -> Response:
            self.assertFalse(self.rig.accounts.settled(ANN))
            if found_within:
                self.memory.found_later(self.call)
            if isinstance(outcome, BaseException):
                raise outcome
            assert isinstance(outcome, Response)
            return outcome

        done = Deferred.fromCoroutine(self.memory.around_write(self.call, send))
        came: list[object] = []
        done.addBoth(came.append)
        self.assertIs(came[0] if isinstance(outcome, Response) else came[0].value, outcome)  # type: ignore[attr-defined]

    def settled(self) -> bool:
        return self.rig.accounts.settled(ANN)

    def test_while_hosp_is_gone_awrite_that_cannot_be_sent_revokes_nothing(self) -> None:
        self.rig.accounts.remember(ANN, self.rig.accounts.ticket())
        sent: list[str] = []

        async def send() -> Response:
            sent.append("note")
            raise NotSent("gone")

        self.away = True
        done = Deferred.fromCoroutine(self.memory.around_write(self.call, send))
        self.failureResultOf(done, BreakerOpen)
        self.assertEqual(sent, [])
        self.assertEqual(self.rig.accounts.recall(ANN.credentials), ANN)
        self.assertTrue(self.settled())
        note = call_of("createNote", document={})
        self.failureResultOf(Deferred.fromCoroutine(self.memory.around_write(note, send)), NotSent)
        self.assertEqual(sent, ["note"])

    def test_who_listens_learns_of_what_hosp_carried_out_and_of_nothing_else(self) -> None:
        told: list[int] = []
        self.memory.acknowledged.listen(lambda _call, response: told.append(response.status))
        replayed = evolve(answer(status=200), origin=Origin.MEMORY)
        for outcome in (answer(status=404), answer(status=500), replayed, NotSent("gone"), UNKNOWN):
            self.write(outcome)
            self.assertEqual(told, [], outcome)
        self.write(answer(status=201))
        self.write(evolve(answer(status=200), origin=Origin.PROXY))  # found to be carried out
        self.assertEqual(told, [201, 200])

    def test_what_is_known_settles_the_account(self) -> None:
        for outcome in (
            answer(),
            answer(status=404),
            answer(status=500),
            Response(504, origin=Origin.PROXY),
            NotSent("refused"),
            OverCapacity("full"),
            Refused("no"),
            BadAnswer("too large", head_status=200),
            ProxyError("not recorded", status=503),
            RecordFailed(),
        ):
            self.write(outcome)
            self.assertTrue(self.settled(), outcome)

    def test_what_hosp_may_be_at_yet_is_given_its_time(self) -> None:
        for outcome in (
            *(answer(status=status) for status in (408, 502, 503, 504)),
            FailedAfterSending("reset"),
            BadAnswer("badly framed"),
            BadAnswer("too large", head_status=502),
            CancelledError(),
            ZeroDivisionError(),
            GeneratorExit(),
        ):
            self.write(outcome)
            self.assertFalse(self.settled(), outcome)
            self.rig.clock.advance(24.9)
            self.assertFalse(self.settled(), outcome)
            self.rig.clock.advance(0.1)
            self.assertTrue(self.settled(), outcome)

    def test_the_time_may_be_given(self) -> None:
        memory = memory_module.Memory(
            self.memory._contract, self.rig.accounts, self.rig.store, self.rig.clock, late_commit_s=3.0
        )
        self.memory = memory
        self.write(FailedAfterSending("reset"))
        self.rig.clock.advance(3)
        self.assertTrue(self.settled())

    def test_what_is_unknown_stays_open_until_it_is_found(self) -> None:
        self.write(UNKNOWN)
        self.rig.clock.advance(1e6)
        self.assertFalse(self.settled())
        self.memory.found_later(self.call)
        self.assertTrue(self.settled())

    def test_each_is_found_for_itself(self) -> None:
        self.write(UNKNOWN)
        other = self.call
        self.call = call_of("updateStaff", "1", document={"name": "anna"})
        self.write(UNKNOWN)
        self.memory.found_later(self.call)
        self.memory.found_later(self.call)
        self.assertFalse(self.settled())
        self.memory.found_later(other)
        self.assertTrue(self.settled())

    def test_a_finding_that_comes_before_the_failure_does_not_leave_it_open_for_ever(self) -> None:
        """If the contract has no way to look, that is reported before the failure reaches the cache."""
        self.write(UNKNOWN, found_within=True)
        self.assertFalse(self.settled(), "it may still be carried out")
        self.rig.clock.advance(25)
        self.assertTrue(self.settled())

    def test_no_more_are_waited_for_than_there_is_room(self) -> None:
        self.patch(memory_module, "MAX_UNKNOWN", 1)
        self.write(UNKNOWN)
        first = self.call
        self.call = call_of("updateStaff", "1", document={"name": "anna"})
        self.write(UNKNOWN)
        self.memory.found_later(first)
        self.assertFalse(self.settled())
        self.rig.clock.advance(25)
        self.assertTrue(self.settled())

    def test_writes_that_touch_no_account_are_not_held(self) -> None:
        self.call = call_of("deletePatient", "1")

        async def send() -> Response:
            raise UNKNOWN

        self.failureResultOf(
            Deferred.fromCoroutine(self.memory.around_write(self.call, send)), OutcomeUnknown
        )
        self.assertEqual((self.memory._unknown, self.memory._sending), ([], []))

    def test_everything_is_let_go_in_the_end(self) -> None:
        for outcome in (answer(), FailedAfterSending("reset"), UNKNOWN):
            self.write(outcome)
        self.memory.found_later(self.call)
        self.rig.clock.advance(25)
        self.assertTrue(self.settled())
        self.assertEqual((self.memory._unknown, self.memory._sending), ([], []))


class InvalidationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = CacheRig()

    def test_a_later_finding_strikes_again(self) -> None:
        call = call_of("createNote", document={})
        self.rig.send(call)
        self.rig.reply(OutcomeUnknown("who knows", reference="r"))
        self.rig.warm("listNotes")
        early = self.rig.send(call_of("listNotes", patient_id="1"))
        self.rig.memory.found_later(call)
        self.rig.reply(answer())
        self.assertIn(b"detail=invalidated", early.status)
        self.assertEqual(self.rig.warm("listNotes").exchange.trace.cache_status, "miss")

    def test_a_hospitals_deletion_is_everybodys(self) -> None:
        for who in (ANN, BEN):
            self.rig.warm("listNotes", who=who)
            self.rig.accounts.remember(who, self.rig.accounts.ticket())
        self.rig.warm("getStatus", answer(b"ok", headers=((b"Content-Type", b"text/html"),)), who=None)
        self.rig.send(call_of("deleteHospital", "1"))
        self.assertEqual(len(self.rig.store), 1, "what is public is nobody's")
        self.assertEqual([self.rig.accounts.recall(who.credentials) for who in (ANN, BEN)], [None, None])

    def test_a_forgotten_credentials_answers_are_dropped(self) -> None:
        self.rig.warm("listNotes")
        self.rig.warm("listNotes", who=BEN)
        self.rig.send("listHospitals")
        self.rig.accounts.forget(ANN.credentials)
        self.assertEqual(len(self.rig.store), 1)
        self.rig.reply(answer())
        self.assertEqual(len(self.rig.store), 1, "an answer on its way must not be kept")
