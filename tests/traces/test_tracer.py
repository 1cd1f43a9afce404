"""Which requests are traced, and what their spans say."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.sampled_shortcuts import SampledShortcuts, shortcuts_of
from hospproxy.arrival.shortcuts import Shortcuts
from hospproxy.contract.document import load
from hospproxy.exchange.exchange import Call, Exchange
from hospproxy.exchange.spans import CLIENT, SERVER, Span
from hospproxy.exchange.trace_context import TraceParent
from hospproxy.http.errors import FailedAfterSending
from hospproxy.http.messages import Client, Headers, Request, Response
from hospproxy.outward.upstream import UpstreamProcessor
from hospproxy.outward.upstream_request import UpstreamTarget, build_message
from hospproxy.traces.sampler import Sampler
from hospproxy.traces.tracer import Tracer
from hospproxy.watch.metrics import Metrics
from tests.stages import arrived, identified

CONTRACT = load()
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
UPSTREAM = {"server.address": "hosp.example", "server.port": 443, "url.full": "https://hosp.example"}
CALL = Call(CONTRACT.operation("getPatient"), path=("4711",), authorization=b"Basic c2VjcmV0")


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.spans: list[Span] = []
        self.chance = 0.5
        self.number = 0

    def tracer(self, share: float = 1.0, *, follow: bool = False) -> Tracer:
        self.sampler = Sampler(share, follow, lambda: self.chance)
        return Tracer(self.sampler, self.spans.append, self.entropy, UPSTREAM)

    def entropy(self, size: int) -> bytes:
        self.number += 1
        return self.number.to_bytes(size, "big")

    def begun(self, tracer: Tracer, *fields: tuple[bytes, bytes]) -> Exchange:
        request = Request(
            "GET", b"/patients/4711", b"x=Smith", headers=Headers(fields), client=Client(address="192.0.2.7")
        )
        exchange = arrived(request)
        tracer.begin(exchange)
        return exchange


class Begins(Case):
    def test_a_trace_is_continued(self) -> None:
        given = (b"traceparent", f"00-{TRACE}-{SPAN}-00".encode()), (b"tracestate", b"a=1")
        tracer = self.tracer()
        tracer.end(self.begun(tracer, *given), 200, 1.5)
        [span] = self.spans
        self.assertEqual((span.trace_id, span.parent_id, span.state, span.kind), (TRACE, SPAN, "a=1", SERVER))
        self.assertNotEqual(span.span_id, SPAN)
        self.assertEqual(span.ended - span.began, 1.5)

    def test_an_invalid_parent_begins_a_new_one(self) -> None:
        for given in ((), ((b"traceparent", b"00-zz"), (b"tracestate", b"a=1"))):
            self.spans.clear()
            tracer = self.tracer()
            tracer.end(self.begun(tracer, *given), 200, 1.5)
            [span] = self.spans
            self.assertEqual((span.parent_id, span.state), ("", ""))
            self.assertNotEqual(span.trace_id, TRACE)

    def test_nothing_of_a_patient_is_in_a_span(self) -> None:
        tracer = self.tracer()
        exchange = self.begun(tracer, (b"authorization", CALL.authorization or b""))
        exchange.trace.call = CALL
        tracer.end(exchange, 200, 1.5)
        text = repr(self.spans)
        for word in ("4711", "Smith", "192.0.2.7", "Basic", "c2VjcmV0"):
            self.assertNotIn(word, text)
        self.assertEqual(self.spans[0].name, "GET /patients/{id}")
        self.assertEqual(self.spans[0].attributes["http.route"], "/patients/{id}")

    def test_an_odd_method(self) -> None:
        tracer = self.tracer()
        exchange = arrived(Request("BREW", b"/x"))
        tracer.begin(exchange)
        tracer.end(exchange, 405, 1.0)
        [span] = self.spans
        self.assertEqual((span.name, span.attributes["http.request.method"]), ("HTTP", "_OTHER"))
        self.assertFalse(span.failed)

    def test_a_failed_one(self) -> None:
        tracer = self.tracer()
        for status, kind in ((503, "503"), (None, "no response")):
            self.spans.clear()
            tracer.end(self.begun(tracer), status, 1.0)
            self.assertEqual((self.spans[0].failed, self.spans[0].attributes["error.type"]), (True, kind))


class Choices(Case):
    def test_a_share_is_traced(self) -> None:
        tracer = self.tracer(0.3)
        for self.chance, number in ((0.29, 1), (0.3, 0)):
            self.spans.clear()
            tracer.end(self.begun(tracer), 200, 1.0)
            self.assertEqual(len(self.spans), number)

    def test_the_clients_choice_counts_only_by_option(self) -> None:
        for follow, flags, share, number in (
            (True, "01", 0.0, 1), (True, "00", 1.0, 0), (False, "01", 0.0, 0), (False, "00", 1.0, 1),
        ):  # fmt: skip
            self.spans.clear()
            tracer = self.tracer(share, follow=follow)
            field = f"00-{TRACE}-{SPAN}-{flags}".encode()
            self.sampler.choose(b"GET / HTTP/1.1\r\nTraceparent: " + field + b"\r\n\r\n")
            tracer.end(self.begun(tracer, (b"traceparent", field)), 200, 1.0)
            self.assertEqual(len(self.spans), number, (follow, flags))

    def test_a_request_is_chosen_once(self) -> None:
        """What was chosen from its head holds in the chain; what a shortcut has answered is forgotten."""
        self.tracer(0.3)
        for self.chance in (0.1, 0.9):
            chosen = self.sampler.choose(b"GET / HTTP/1.1\r\n\r\n")
            self.assertEqual(chosen, self.chance < 0.3)
            self.chance = 1.0 - self.chance
            self.assertEqual(self.sampler.take(None), chosen)
        self.sampler.choose(b"GET / HTTP/1.1\r\n\r\n")
        self.sampler.passed()
        self.chance = 0.1
        self.assertTrue(self.sampler.take(None))

    def test_what_is_chosen_has_no_shortcut(self) -> None:
        self.tracer(0.3)
        rest: Any = (10, Clock(), lambda: 0.0, lambda: "id", Metrics(strict=True), b"s" * 32)
        table = shortcuts_of(self.sampler, *rest)
        other = table.another()
        self.assertIsInstance(other, SampledShortcuts)
        table.pause()
        self.chance = 0.9
        self.assertIsNone(other.key(b"GET /notes HTTP/1.1\r\n\r\n", b"way"))
        table.resume()
        self.assertIs(type(shortcuts_of(None, *rest)), Shortcuts)
        for self.chance, has_key in ((0.1, False), (0.9, True)):
            self.assertEqual(table.key(b"GET /notes HTTP/1.1\r\n\r\n", b"way") is not None, has_key)
        key = table.key(b"GET /notes HTTP/1.1\r\n\r\n", b"way")
        assert key is not None
        self.assertIsNone(table.answer(key, trusted=False))
        self.chance = 0.1
        self.assertFalse(self.sampler.take(None))  # no shortcut answered it: the choice from its head holds


class Attempts(Case):
    def attempts(self, *outcomes: Response | Exception, own: str = "") -> list[Client]:
        """Make attempts at HOSP within one traced request; return what each was sent with."""
        clock, sent = Clock(), []
        remaining = list(outcomes)

        class Hosp:
            async def send(self, _call: Call, client: Client, *_: Any, **__: Any) -> Response:
                sent.append(client)
                clock.advance(2.0)
                outcome = remaining.pop(0)
                if isinstance(outcome, Exception):
                    raise outcome
                return outcome

        hosp: Any = Hosp()
        processor = UpstreamProcessor(hosp, clock)
        exchange = identified(CALL, own=own)
        exchange.trace.spans = self.begun(self.tracer()).trace.spans
        nothing: Any = None
        for _ in outcomes:
            done = Deferred.fromCoroutine(processor.process(exchange, nothing))
            done.addErrback(lambda _: None)
            self.assertTrue(done.called)
        return sent

    def test_each_has_a_span_and_continues_the_trace_at_hosp(self) -> None:
        clients = self.attempts(FailedAfterSending("lost"), Response(503), Response(200))
        self.assertEqual(
            [span.attributes.get("http.request.resend_count") for span in self.spans], [None, 1, 2]
        )
        self.assertEqual([span.failed for span in self.spans], [True, True, False])
        self.assertEqual(
            [span.attributes.get("error.type") for span in self.spans], ["failed after sending", "503", None]
        )
        self.assertEqual(len({span.span_id for span in self.spans}), 3)
        for client, span in zip(clients, self.spans, strict=True):
            self.assertEqual(
                client.trace, ((b"traceparent", f"00-{span.trace_id}-{span.span_id}-01".encode()),)
            )
            self.assertEqual((span.kind, span.ended - span.began), (CLIENT, 2.0))
            self.assertEqual(span.attributes["url.full"], "https://hosp.example/patients/{id}")
            self.assertEqual(span.attributes["server.port"], 443)
        self.assertNotIn("4711", repr(self.spans))

    def test_the_proxys_own_requests_say_why(self) -> None:
        self.attempts(Response(200), own="look")
        self.assertEqual(self.spans[0].attributes["hospproxy.own"], "look")

    def test_the_fields_reach_the_wire(self) -> None:
        parent = TraceParent(TRACE, SPAN, True)
        client = evolve(Client(), trace=((b"traceparent", parent.field), (b"tracestate", b"a=1")))
        target = UpstreamTarget.from_url("http://hosp.example")
        wire = build_message(CALL, client, target).wire(keep=True)
        self.assertIn(f"\r\ntraceparent: 00-{TRACE}-{SPAN}-01\r\ntracestate: a=1\r\n".encode(), wire)
        self.assertNotIn(b"trace", build_message(CALL, Client(), target).wire(keep=True))
