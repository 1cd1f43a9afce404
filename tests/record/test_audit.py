from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from hospproxy.exchange.exchange import Exchange
from hospproxy.http.errors import ProxyError, RecordFailed, Refused
from hospproxy.http.messages import Response
from hospproxy.interfaces import IJournal, IProcessor
from hospproxy.record.audit import Audit
from hospproxy.record.describe import Describer
from hospproxy.record.http_facts import HttpFacts
from hospproxy.record.intent import Intent

from .exchanges import CREATE_NOTE, READ_NOTE, SCREEN, answer, exchange


@implementer(IJournal)
class FakeJournal:
    full = False

    def __init__(self) -> None:
        self.records: list[Mapping[str, Any]] = []
        self.waiting: list[Deferred[None]] = []

    def append(self, record: Mapping[str, Any]) -> Deferred[None]:
        self.records.append(record)
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def written(self) -> None:
        self.waiting.pop(0).callback(None)

    def failed(self) -> None:
        self.waiting.pop(0).errback(RecordFailed("full"))


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.journal, self.clock = FakeJournal(), Clock()
        self.clock.advance(100.5)
        self.upstream: Deferred[Response] = Deferred()
        self.proceeded = 0

    async def proceed(self, exchange: Exchange) -> Response:
        self.proceeded += 1
        return await self.upstream

    def run_through(self, station: Any, given: Exchange) -> Deferred[Response]:
        return Deferred.fromCoroutine(station.process(given, self.proceed))


class WhenFull(Case):
    def process(self, given: Exchange) -> Deferred[Response]:
        audit = Audit(self.journal, Describer(b"k"), self.clock, lambda _: answer(b"full", status=503))
        return self.run_through(audit, given)

    def test_clients_are_refused_and_that_is_recorded(self) -> None:
        self.journal.full = True
        done = self.process(exchange(READ_NOTE, ("3",)))
        self.assertNoResult(done)
        self.journal.written()
        self.assertEqual((self.successResultOf(done).status, self.proceeded), (503, 0))
        [record] = self.journal.records
        self.assertEqual((record["outcome"], record["status"]), ("not recorded", 503))

    def test_the_proxys_own_requests_and_all_of_them_with_room_go_on(self) -> None:
        self.process(exchange(READ_NOTE, ("3",)))
        self.journal.full = True
        self.process(exchange(READ_NOTE, ("3",), own="look"))
        self.assertEqual(self.proceeded, 2)


class AccessLogSwitch(Case):
    def test_records_say_more_from_the_reload_on_that_turns_the_access_log_on(self) -> None:
        audit = Audit(self.journal, Describer(b"k"), self.clock)
        for facts in (None, HttpFacts(), None):
            audit.reload(None, facts)
            self.upstream = succeed(answer(b"{}"))
            self.run_through(audit, exchange(READ_NOTE, ("3",)))
        self.assertEqual(["http" in record for record in self.journal.records], [False, True, False])


class OutermostStation(Case):
    def setUp(self) -> None:
        super().setUp()
        self.audit = Audit(self.journal, Describer(b"k"), self.clock)
        verifyObject(IProcessor, self.audit)

    def process(self, given: Exchange | None = None) -> Deferred[Response]:
        return self.run_through(self.audit, given or exchange(READ_NOTE, ("3",)))

    def test_the_answer_waits_for_its_record(self) -> None:
        done = self.process()
        self.assertEqual(self.journal.records, [])
        self.upstream.callback(answer())
        self.assertNoResult(done)
        self.journal.written()
        self.assertEqual(self.successResultOf(done).status, 200)
        [record] = self.journal.records
        self.assertEqual(
            (record["kind"], record["outcome"], record["duration_ms"]), ("request", "success", 500)
        )

    def test_without_a_record_there_is_no_answer(self) -> None:
        done = self.process()
        self.upstream.callback(answer())
        self.journal.failed()
        self.failureResultOf(done, RecordFailed)

    def test_a_failure_is_recorded_and_goes_on(self) -> None:
        done = self.process()
        self.upstream.errback(Refused("no", status=403))
        self.assertNoResult(done)
        self.journal.written()
        self.failureResultOf(done, Refused)
        self.assertEqual(self.journal.records[0]["status"], 403)

    def test_a_failure_without_a_record_may_not_be_answered_either(self) -> None:
        done = self.process()
        self.upstream.errback(ValueError("a mistake"))
        self.journal.failed()
        self.failureResultOf(done, RecordFailed)
        self.assertEqual(self.journal.records[0]["outcome"], "error")

    def test_a_client_that_left_is_recorded(self) -> None:
        done = self.process()
        done.cancel()
        self.assertEqual([record["outcome"] for record in self.journal.records], ["client gone"])
        self.journal.written()
        self.failureResultOf(done, CancelledError)

    def test_a_client_that_left_and_no_record(self) -> None:
        done = self.process()
        done.cancel()
        self.journal.failed()
        self.failureResultOf(done, CancelledError)

    def test_a_client_that_leaves_while_its_record_is_written_gets_nothing(self) -> None:
        done = self.process()
        self.upstream.callback(answer())
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual(len(self.journal.records), 1)
        self.journal.written()

    def test_a_later_finding(self) -> None:
        noted = self.audit.note(exchange(CREATE_NOTE), "ref-1", "found")
        self.assertNoResult(noted)
        self.journal.written()
        self.successResultOf(noted)
        [record] = self.journal.records
        self.assertEqual(
            (record["kind"], record["reference"], record["outcome"]), ("finding", "ref-1", "found")
        )


class BeforeAWriteIsSent(Case):
    def setUp(self) -> None:
        super().setUp()
        self.intent = Intent(self.journal, Describer(b"k"), self.clock)
        verifyObject(IProcessor, self.intent)

    def test_nothing_is_sent_until_it_is_on_record(self) -> None:
        done = self.run_through(self.intent, exchange(CREATE_NOTE))
        self.assertEqual(self.proceeded, 0)
        self.journal.written()
        self.assertEqual(self.proceeded, 1)
        self.upstream.callback(answer(status=201))
        self.assertEqual(self.successResultOf(done).status, 201)
        self.assertEqual([record["kind"] for record in self.journal.records], ["intent"])

    def test_what_cannot_be_recorded_is_not_sent(self) -> None:
        given = exchange(CREATE_NOTE)
        done = self.run_through(self.intent, given)
        self.journal.failed()
        error = self.failureResultOf(done, ProxyError).value
        self.assertEqual((error.status, error.retry_after_s, self.proceeded), (503, 30, 0))
        self.assertEqual(given.trace.outcome, "not recorded")

    def test_a_client_that_leaves_before_has_sent_nothing(self) -> None:
        done = self.run_through(self.intent, exchange(CREATE_NOTE))
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.proceeded, 0)

    def test_reads_and_screenings_need_none(self) -> None:
        for given in (exchange(READ_NOTE, ("3",)), exchange(SCREEN, ("7",))):
            self.run_through(self.intent, given)
        self.assertEqual((self.proceeded, self.journal.records), (2, []))
