"""No response leaves a connection before its record is on disk, however arrival or the chain made it.

Arrival, the chain and the recording processor are real. The journal holds back every record until the test releases
it. The tests send all cases of the corpus, and what it lacks: time limits, budgets, listeners, cut requests.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from hospproxy.arrival.answer import CONTINUE
from hospproxy.arrival.authority import PublicHosts
from hospproxy.arrival.listener_context import ListenerContext
from hospproxy.arrival.null_meter import NullMeter
from hospproxy.arrival.plain import PlainHttpMode, PlainPolicy
from hospproxy.exchange.answers import ProxyResponses
from hospproxy.exchange.exchange import Exchange
from hospproxy.guard.validation import Validation
from hospproxy.http.errors import RecordFailed
from hospproxy.http.messages import Origin, Response
from hospproxy.interfaces import IJournal, IProcessor, Proceed
from hospproxy.record.audit import Audit
from hospproxy.record.describe import Describer
from hospproxy.service.chain import Chain
from tests.corpus import ALL, LIMITS, body_limit
from tests.corpus.case import get, post, raw
from tests.rig import CONTRACT
from tests.stages import by_stage

from .memory_transport import PLAIN, Line, read_answers

LATE_S = LIMITS.header_timeout_s + LIMITS.body_timeout_s + 1
"""Seconds after which every time limit of a request has passed."""


@implementer(IJournal)
class HeldJournal:
    """A journal whose records reach the disk when the test says so."""

    trouble = None
    full = False

    def __init__(self) -> None:
        self.records: list[Mapping[str, Any]] = []
        self.held: list[Deferred[None]] = []

    def append(self, record: Mapping[str, Any]) -> Deferred[None]:
        self.records.append(record)
        self.held.append(Deferred())
        return self.held[-1]

    def close(self) -> Deferred[None]:
        return succeed(None)


@implementer(IProcessor)
class FromMemory:
    """Responds like a cache that has every response."""

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        return Response(200, body=b"kept", origin=Origin.MEMORY)


class Recorded:
    """A connection whose responses wait for the journal."""

    def __init__(self, plain: PlainPolicy | None = PLAIN, *, contract: bool = False, **context: Any) -> None:
        clock, self.journal, ids = Clock(), HeldJournal(), itertools.count(1)
        stations: dict[str, IProcessor] = {
            "record.audit": Audit(self.journal, Describer(b"k" * 32), clock),
            "memory.cache": FromMemory(),
        }
        if contract:
            stations["guard.validation"] = Validation(CONTRACT, enforce=True, judge=True, own=())
        chain = Chain(
            by_stage(stations),
            answers=ProxyResponses(CONTRACT),
            clock=clock,
            wall=lambda: 0.0,
            deadline_s=28,
            limit=body_limit,
            meter=NullMeter(),
        )
        more = {"limits": LIMITS, **context}
        shared = ListenerContext(
            handler=chain, clock=clock, new_id=lambda: f"id-{next(ids)}", wall=lambda: 0.0, **more
        )
        self.line = Line(chain, plain=plain, context=shared)  # type: ignore[arg-type]

    def said(self) -> bytes:
        """All bytes that were sent, except 100 Continue, which is not a response."""
        return bytes(self.line.transport.written).replace(CONTINUE, b"")

    def answered(self) -> list[tuple[int, str]]:
        """Status and request id of each response."""
        methods = [record["method"] or "GET" for record in self.journal.records]
        return [(each.status, each.headers["x-request-id"]) for each in read_answers(self.said(), methods)]

    def recorded(self) -> list[tuple[int, str]]:
        """Status and request id of each record."""
        return [(record["status"], record["request_id"]) for record in self.journal.records]

    def released(self, between_s: float = 0) -> list[int]:
        """Let the records reach the disk one by one; the statuses of what was answered.

        :param between_s: seconds that pass before each.
        :raise AssertionError: an answer was ahead of its record, or another than the record says.
        """
        for number in itertools.count():
            self.line.pass_time(between_s, 1)
            assert self.answered() == self.recorded()[:number]
            if number == len(self.journal.held):
                return [status for status, _ in self.answered()]
            self.journal.held[number].callback(None)
        raise AssertionError


class OnRecordTests(SynchronousTestCase):
    def test_every_case_of_the_corpus(self) -> None:
        for case in ALL:
            place = Recorded()
            place.line.send(case.raw)
            self.assertEqual(place.released(LATE_S), case.statuses, f"{case.section} {case.name}")

    def test_none_is_answered_when_none_is_recorded(self) -> None:
        for case in ALL:
            place = Recorded()
            place.line.send(case.raw)
            place.line.pass_time(LATE_S, 1)
            if case.statuses:
                place.journal.held[0].errback(RecordFailed("no room"))
                self.assertIs(place.line.transport.gone, ConnectionAborted, case.name)
            self.assertEqual(place.said(), b"", case.name)
        self.flushLoggedErrors(RecordFailed)

    def statuses(self, data: bytes, plain: PlainPolicy | None = PLAIN, **more: Any) -> list[int]:
        place = Recorded(plain, **more)
        place.line.send(data)
        return place.released()

    def test_what_is_late(self) -> None:
        for begun in (
            b"GET / HT",
            get() + b"GET",
            post(b"", b"Content-Length: 5"),
            post(b"he", b"Content-Length: 5"),
        ):
            place = Recorded()
            place.line.send(begun)
            if place.journal.held:
                self.assertEqual(place.recorded(), [(200, "id-1")])
                place.journal.held[0].callback(None)
            place.line.pass_time(LATE_S, 1)
            self.assertEqual([status for status, _ in place.recorded()][-1], 408)
            self.assertNotIn(b"408", place.said())
            place.journal.held[-1].callback(None)
            self.assertEqual(place.answered(), place.recorded())

    def test_what_is_cut(self) -> None:
        for begun in (b"GET / HT", post(b"he", b"Content-Length: 5")):
            place = Recorded()
            place.line.send(begun)
            place.line.protocol.readConnectionLost()
            self.assertEqual(place.released(), [400])

    def test_the_plain_listener(self) -> None:
        self.assertEqual(self.statuses(get(), PlainPolicy()), [403])
        self.assertEqual(self.statuses(get(), PlainPolicy(PlainHttpMode.REDIRECT)), [308])
        self.assertEqual(
            self.statuses(post(b"x", b"Content-Length: 1"), PlainPolicy(PlainHttpMode.REDIRECT)), [403]
        )

    def test_misdirected(self) -> None:
        self.assertEqual(self.statuses(get(), public_hosts=PublicHosts.of(["b"])), [421])
        self.assertEqual(self.statuses(get(b"https://a/")), [421])

    def test_no_memory_for_bodies(self) -> None:
        tight = evolve(LIMITS, body_memory_bytes=4)
        self.assertEqual(self.statuses(post(b"hello", b"Content-Length: 5"), limits=tight), [503])

    def test_after_100_continue(self) -> None:
        head = post(b"", b"Content-Length: 5", b"Expect: 100-continue")
        place = Recorded()
        place.line.send(head)
        self.assertEqual((place.line.transport.written, place.journal.records), (CONTINUE, []))
        place.line.send(b"hello")
        self.assertEqual(place.line.transport.written, CONTINUE)
        self.assertEqual(place.released(), [200])

    def test_what_the_chain_refuses(self) -> None:
        for asked, status in (
            (raw(b"OPTIONS * HTTP/1.1", b"Host: a"), 204),
            (raw(b"OPTIONS /notes HTTP/1.1", b"Host: a"), 204),
            (raw(b"PATCH /hospitals HTTP/1.1", b"Host: a"), 405),
            (get(b"/nowhere"), 404),
            (get(b"/hospitals"), 200),
        ):
            self.assertEqual(self.statuses(asked, contract=True), [status], asked)

    def test_over_tls(self) -> None:
        self.assertEqual(self.statuses(get() + get() + raw(b"GET / HTTP/1.1"), None), [200, 200, 400])

    def test_pipelined_answers_wait_in_turn(self) -> None:
        place = Recorded()
        place.line.send(get(b"/1") + get(b"/2") + get(b"/3"))
        self.assertEqual(len(place.journal.held), 1)
        self.assertEqual(place.released(), [200, 200, 200])
