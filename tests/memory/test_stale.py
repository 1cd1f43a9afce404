"""What is served past its lifetime: while HOSP fails, and while it is refreshed."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import (
    FailedAfterSending,
    NothingCached,
    NotSent,
    OutcomeUnknown,
    OverCapacity,
    OwnWriteHidden,
    ProxyError,
)
from hospproxy.http.messages import Origin, Priority, Response

from .cache_rig import ANN, BEN, JSON, CacheRig, Reading, answer, call_of

AWAY = NotSent("refused")
HTML = (b"Content-Type", b"text/html")


def note(number: int, patient: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": number, "title": f"note {number}", "patient_id": patient, **more}


def said(document: Any, status: int = 200) -> Response:
    return answer(json.dumps(document).encode(), status=status, headers=(JSON, (b"ETag", b'W/"1"')))


class Staleness(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = CacheRig()

    def offline(self, call: Any, *headers: tuple[bytes, bytes], failure: Any = AWAY, **how: Any) -> Reading:
        """A read while HOSP fails."""
        before = len(self.rig.hosp)
        reading = self.rig.send(call, *headers, **how)
        if len(self.rig.hosp) > before:
            self.rig.reply(failure)
        return reading

    def write(self, call: Any, response: Any, **how: Any) -> Reading:
        reading = self.rig.send(call, **how)
        self.rig.reply(response)
        return reading


class WriteTests(Staleness):
    def test_what_was_kept_for_whoever_asks_again_was_not_forwarded(self) -> None:
        made = said(note(3), 201)
        for origin, status in (
            (Origin.UPSTREAM, b"fwd=method; fwd-status=201"),
            (Origin.MEMORY, b"hit; detail=replayed"),
            (Origin.PROXY, b"fwd=method; detail=found"),
        ):
            write = self.write(call_of("createNote", document={}), evolve(made, origin=origin))
            self.assertEqual(write.status, b"hospproxy; " + status)


class FilterTests(Staleness):
    def test_lists_with_different_filters_are_kept_apart(self) -> None:
        self.rig.warm("listNotes", said([note(2), note(1)]))
        self.rig.warm(call_of("listNotes", staff_id="3"), said([note(1)]))
        self.rig.warm(call_of("listNotes", staff_id="4"), said([]))
        kept = self.rig.send(call_of("listNotes", staff_id="3"))
        self.assertEqual(kept.response.body, said([note(1)]).body)

    def test_a_write_makes_all_of_them_stale(self) -> None:
        self.rig.warm(call_of("listNotes", staff_id="3"))
        self.write(call_of("createNote", document={}), said(note(3), 201))
        self.rig.warm(call_of("listNotes", staff_id="3"))

    def test_where_nobody_knows_whether_hosp_filters_no_own_write_is_left_out(self) -> None:
        """HOSP may ignore the filter, and then the new note is in this list as well."""
        old, new = {**note(1), "staff_id": 3}, {**note(2), "staff_id": 4}
        self.rig.warm(call_of("listNotes", staff_id="3"), said([old]))
        self.write(call_of("createNote", document={}), said(new, 201))
        self.assertIsInstance(self.offline(call_of("listNotes", staff_id="3")).error, OwnWriteHidden)

    def test_of_afilter_that_the_contract_lists_it_is_known(self) -> None:
        old = note(1)
        self.rig.warm(call_of("listNotes", patient_id="1"), said([old]))
        self.write(call_of("createNote", document={}), said(note(2, patient=9), 201))
        kept = self.offline(call_of("listNotes", patient_id="1"))
        self.assertEqual(json.loads(kept.response.body), [old])


class IfErrorTests(Staleness):
    def test_what_is_past_its_time_is_given_while_hosp_fails(self) -> None:
        for failure, status in (
            (NotSent("refused"), b"fwd=stale"),
            (FailedAfterSending("reset"), b"fwd=stale"),
            (ProxyError("late", status=504), b"fwd=stale"),
            *(
                (answer(status=number), b"fwd=stale; fwd-status=%d" % number)
                for number in (500, 502, 503, 504)
            ),
        ):
            self.rig = CacheRig()
            self.rig.warm("listNotes", said([note(1)]))
            self.rig.clock.advance(3600)
            reading = self.offline("listNotes", failure=failure)
            self.assertEqual(reading.response.status, 200)
            self.assertEqual(reading.response.body, said([note(1)]).body)
            self.assertIs(reading.response.origin, Origin.MEMORY)
            self.assertEqual(reading.response.headers.get(b"age"), b"3600")
            self.assertEqual(reading.status, b"hospproxy; " + status + b"; ttl=-3540; detail=stale-if-error")
            self.assertEqual(reading.exchange.trace.cache_status, "stale")

    def test_what_is_still_fresh_says_for_how_long(self) -> None:
        self.rig.warm("listNotes")
        self.rig.clock.advance(7)
        for failure, status in (
            (answer(status=503), b"fwd=request; fwd-status=503; ttl=53; detail=stale-if-error"),
            (AWAY, b"fwd=request; ttl=53; detail=stale-if-error"),
        ):
            reading = self.offline("listNotes", (b"Cache-Control", b"no-cache"), failure=failure)
            self.assertEqual(reading.status, b"hospproxy; " + status)
        reading = self.rig.send("listNotes", offline=True)
        self.assertEqual(reading.status, b"hospproxy; hit; ttl=53; detail=stale-if-error")

    def test_what_awrite_has_struck_is_not_fresh_whatever_time_it_had_left(self) -> None:
        self.rig.warm("listNotes", said([note(1)]))
        self.write(call_of("createNote", document={}), said(note(2), 201), who=BEN)
        reading = self.offline("listNotes")
        self.assertEqual(reading.status, b"hospproxy; fwd=stale; ttl=0; detail=stale-if-error-invalidated")

    def test_nothing_was_forwarded_where_hosp_is_not_asked(self) -> None:
        self.rig.warm("listNotes")
        self.rig.clock.advance(61)
        self.patch(self.rig, "_hosp", self.overloaded)
        reading = self.rig.send("listNotes")
        self.assertEqual(reading.status, b"hospproxy; hit; ttl=-1; detail=stale-if-error")

    async def overloaded(self, _exchange: object) -> Response:
        raise OverCapacity("open")

    def test_what_says_something_is_passed_on(self) -> None:
        for status in (401, 403, 404, 501):
            self.rig = CacheRig()
            self.rig.warm("listNotes")
            self.rig.clock.advance(61)
            self.assertEqual(self.offline("listNotes", failure=answer(status=status)).response.status, status)

    def test_not_beyond_the_bound_of_the_route(self) -> None:
        self.rig.warm("listNotes")
        self.rig.clock.advance(60 + 604800 - 0.1)
        self.assertEqual(self.offline("listNotes").response.status, 200)
        self.rig.clock.advance(0.1)
        self.assertIs(self.offline("listNotes").error, AWAY)

    def test_not_where_the_contract_says_nothing_of_it(self) -> None:
        self.rig.warm("getStatus", answer(b"online", headers=(HTML,)), who=None)
        self.rig.clock.advance(6)
        self.assertIs(self.offline("getStatus", who=None).error, AWAY)

    def test_what_the_request_forbids(self) -> None:
        self.rig.warm("listNotes")
        self.rig.clock.advance(100)
        for value, given in (
            (b"no-cache", True),
            (b"max-age=0", True),
            (b"no-store", True),
            (b"stale-if-error=41", True),
            (b"stale-if-error=40", False),
            (b"only-if-cached", False),
        ):
            reading = self.offline("listNotes", (b"Cache-Control", value))
            self.assertEqual(isinstance(reading.outcome[0], Response), given, value)

    def test_nobody_gets_anothers(self) -> None:
        self.rig.warm("listNotes")
        self.rig.clock.advance(61)
        self.assertIs(self.offline("listNotes", who=BEN).error, AWAY)
        self.assertIs(self.offline("listNotes", host="other.example").error, AWAY)

    def test_a_look_is_never_answered_from_memory(self) -> None:
        self.rig.warm("listNotes")
        self.assertIs(self.offline("listNotes", past_cache=True).error, AWAY)

    def test_without_hosps_word_on_who_asks_only_memory_answers(self) -> None:
        self.rig.warm("listNotes")
        before = len(self.rig.hosp)
        self.assertEqual(self.rig.send("listNotes", offline=True).response.status, 200)
        self.assertIsInstance(self.rig.send("listHospitals", offline=True).error, NothingCached)
        self.assertEqual(len(self.rig.hosp), before)

    def test_not_to_an_account_that_is_in_doubt(self) -> None:
        self.rig.warm("listNotes")
        self.rig.send(call_of("updateStaff", "1", document={"password": "new"}), who=BEN)
        self.assertIs(self.offline("listNotes").error, AWAY)
        self.rig.reply(AWAY, 1)
        self.assertIs(self.offline("listNotes").error, AWAY)

    def test_every_waiter_gets_it(self) -> None:
        self.rig.warm("listNotes")
        self.rig.clock.advance(61)
        readings = [self.rig.send("listNotes") for _ in range(3)]
        self.rig.reply(AWAY)
        self.assertEqual([reading.exchange.trace.cache_status for reading in readings], ["stale"] * 3)


class AfterWriteTests(Staleness):
    def setUp(self) -> None:
        super().setUp()
        self.of_1 = call_of("listNotes", patient_id="1")
        self.of_2 = call_of("listNotes", patient_id="2")
        for who in (ANN, BEN):
            self.rig.warm("listNotes", said([note(2, 2), note(1)]), who=who)
            self.rig.warm(self.of_1, said([note(1)]), who=who)
            self.rig.warm(self.of_2, said([note(2, 2)]), who=who)
            self.rig.warm(call_of("getNote", "1"), said(note(1)), who=who)

    def shown(self, call: Any, **how: Any) -> Any:
        """Result of a read while HOSP is away: a document, or the class of the failure."""
        outcome = self.offline(call, **how).outcome[0]
        return json.loads(outcome.body) if isinstance(outcome, Response) else type(outcome.value)

    def test_what_awrite_struck_is_never_fresh(self) -> None:
        self.write(call_of("createNote", document={}), said(note(3), 201))
        for who in (ANN, BEN):
            self.assertEqual(self.rig.warm("listNotes", who=who).exchange.trace.cache_status, "miss")

    def test_to_others_it_is_given_marked(self) -> None:
        self.write(call_of("createNote", document={}), said(note(3), 201))
        reading = self.offline("listNotes", who=BEN)
        self.assertEqual(json.loads(reading.response.body), [note(2, 2), note(1)])
        self.assertTrue(reading.status.endswith(b"detail=stale-if-error-invalidated"), reading.status)

    def test_its_writer_reads_what_he_wrote(self) -> None:
        self.write(call_of("createNote", document={}), said(note(3), 201))
        self.assertEqual(self.shown("listNotes"), [note(3), note(2, 2), note(1)])
        self.assertEqual(self.shown(self.of_1), [note(3), note(1)])
        self.assertEqual(self.shown(self.of_2), [note(2, 2)])
        self.assertIsNone(self.offline("listNotes").response.headers.get(b"etag"))

    def test_a_change_is_read_in_the_record_and_in_every_list_that_it_is_in(self) -> None:
        self.write(call_of("updateNote", "1", document={}), said(note(1, 2, title="moved")))
        moved = note(1, 2, title="moved")
        self.assertEqual(self.shown(call_of("getNote", "1")), moved)
        self.assertEqual(self.shown("listNotes"), [note(2, 2), moved])
        self.assertEqual(self.shown(self.of_1), [])
        self.assertEqual(self.shown(self.of_2), [note(2, 2), moved])

    def test_a_deleted_record_is_in_no_list_and_not_read_any_more(self) -> None:
        self.write(call_of("deleteNote", "1"), answer(b"gone", headers=(HTML,)))
        self.assertEqual(self.shown("listNotes"), [note(2, 2)])
        self.assertEqual(self.shown(self.of_1), [])
        self.assertIs(self.shown(call_of("getNote", "1")), OwnWriteHidden)
        self.assertEqual(self.shown(call_of("getNote", "1"), who=BEN), note(1))

    def test_what_cannot_be_set_right_is_not_given_to_its_writer(self) -> None:
        self.write(call_of("createNote", document={}), answer(b"thanks", status=201))
        reading = self.offline("listNotes")
        assert isinstance(reading.error, OwnWriteHidden)
        self.assertEqual((reading.error.status, reading.error.retry_after_s), (503, 5))
        self.assertEqual(reading.exchange.trace.cache_status, "hidden")
        self.assertEqual(self.shown("listNotes", who=BEN), [note(2, 2), note(1)])

    def test_what_is_hidden_stays_so_until_hosp_answers(self) -> None:
        self.write(call_of("createNote", document={}), answer(b"thanks", status=201))
        self.write(call_of("createNote", document={}), said(note(4), 201))
        self.assertIs(self.shown("listNotes"), OwnWriteHidden)
        self.rig.warm("listNotes", said([note(4), note(3)]))
        self.rig.clock.advance(61)
        self.assertEqual(self.shown("listNotes"), [note(4), note(3)])

    def test_another_kind_that_the_contract_names_is_hidden(self) -> None:
        self.write(call_of("deletePatient", "1"), answer(b"deleted", b"text/html"))
        self.assertIs(self.shown("listNotes"), OwnWriteHidden)
        self.assertEqual(self.shown("listNotes", who=BEN), [note(2, 2), note(1)])

    def test_addresses_of_another_host_are_not_mixed_in(self) -> None:
        self.write(call_of("createNote", document={}), said(note(3), 201), host="other.example")
        self.assertIs(self.shown("listNotes"), OwnWriteHidden)

    def test_a_repeated_answer_is_of_an_earlier_state(self) -> None:
        replayed = Response(201, said(note(3)).headers, said(note(3)).body, Origin.MEMORY)
        self.write(call_of("createNote", document={}), replayed)
        self.assertIs(self.shown("listNotes"), OwnWriteHidden)

    def test_what_was_not_acknowledged_hides_nothing(self) -> None:
        for outcome in (AWAY, answer(status=500), answer(status=404), answer(status=422)):
            self.write(call_of("createNote", document={}), outcome)
            self.assertEqual(self.shown("listNotes"), [note(2, 2), note(1)])

    def test_what_is_found_later_is_hidden_from_whom_it_is_told(self) -> None:
        call = call_of("createNote", document={})
        reading = self.write(call, OutcomeUnknown("who knows", reference="r"))
        self.assertEqual(self.shown("listNotes"), [note(2, 2), note(1)])
        from hospproxy.memory.memory import WriteAuthor

        self.rig.memory.found_later(call, WriteAuthor.of(reading.exchange))
        self.assertIs(self.shown("listNotes"), OwnWriteHidden)
        self.assertEqual(self.shown("listNotes", who=BEN), [note(2, 2), note(1)])

    def test_a_fetch_that_began_before_the_write_does_not_bring_the_old_back(self) -> None:
        self.rig.clock.advance(61)
        early = self.rig.send("listNotes")
        self.write(call_of("createNote", document={}), said(note(3), 201))
        self.rig.reply(said([note(2, 2), note(1)]), -2)
        self.assertEqual(json.loads(early.response.body), [note(2, 2), note(1)])
        self.assertEqual(self.shown("listNotes"), [note(3), note(2, 2), note(1)])


class WhileRevalidatingTests(Staleness):
    def setUp(self) -> None:
        self.rig = CacheRig(renews=True)
        self.rig.warm("listNotes", answer(b"[1]"))

    def test_it_is_given_at_once_and_renewed(self) -> None:
        self.rig.clock.advance(70)
        for _ in range(3):
            reading = self.rig.send("listNotes")
            self.assertEqual(reading.response.body, b"[1]")
            self.assertEqual(reading.status, b"hospproxy; hit; ttl=-10; detail=stale-while-revalidate")
            self.assertEqual(reading.response.headers.get(b"age"), b"70")
        [own] = self.rig.own
        self.assertEqual((own.own, own.priority, len(self.rig.hosp)), ("refresh", Priority.REFRESH, 2))
        self.rig.reply(answer(b"[2]"))
        self.assertEqual(self.rig.send("listNotes").response.body, b"[2]")
        self.assertEqual(len(self.rig.cache.refresher), 0)

    def test_not_for_ever(self) -> None:
        self.rig.clock.advance(90)
        self.assertEqual(self.rig.warm("listNotes").exchange.trace.cache_status, "expired")
        self.assertEqual(self.rig.own, [])

    def test_not_to_who_wants_it_fresher(self) -> None:
        for number, value in enumerate((b"no-cache", b"max-age=1000", b"min-fresh=1", b"no-store")):
            self.rig = CacheRig(renews=True)
            self.rig.warm("listNotes")
            self.rig.clock.advance(70)
            self.rig.send("listNotes", (b"Cache-Control", value))
            self.assertEqual((len(self.rig.hosp), self.rig.own), (2, []), number)

    def test_not_what_awrite_struck(self) -> None:
        self.write(call_of("createNote", document={}), said(note(3), 201))
        self.rig.clock.advance(61)
        self.assertEqual(self.rig.warm("listNotes").exchange.trace.cache_status, "miss")

    def test_a_renewal_that_fails_changes_nothing(self) -> None:
        self.rig.clock.advance(70)
        for failure in (AWAY, answer(status=500)):
            reading = self.rig.send("listNotes")
            self.rig.reply(failure)
            self.assertEqual(reading.response.body, b"[1]")
        self.assertEqual(len(self.rig.cache.refresher), 0)
        self.assertNotIn("unhandled_errors_total", self.rig.meter.counts)

    def test_a_refusal_ends_it(self) -> None:
        self.rig.clock.advance(70)
        self.rig.send("listNotes")
        self.rig.reply(answer(b"denied", status=401, headers=()))
        self.assertEqual(self.rig.warm("listNotes").exchange.trace.cache_status, "miss")

    def test_few_at_atime(self) -> None:
        self.rig = CacheRig(renews=True)
        for number in range(40):
            self.rig.warm(call_of("getNote", str(number)))
        self.rig.clock.advance(70)
        for number in range(40):
            self.rig.send(call_of("getNote", str(number)))
        self.assertEqual(len(self.rig.cache.refresher), 32)
        self.rig.cache.refresher.stop()
        self.assertEqual(len(self.rig.cache.refresher), 0)
