"""Every limit of a connection: at the limit, one beyond it, and the name under which it is counted."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.factory import Http1Factory
from hospproxy.arrival.front.trust import TrustedProxies
from hospproxy.arrival.limits import RATE_AFTER_S, body_time
from hospproxy.arrival.listener_context import ListenerContext
from hospproxy.http.messages import Response
from hospproxy.options.arrival_section import ArrivalSettings
from hospproxy.watch.metrics import Metrics
from tests.arrival.memory_transport import PLAIN, Line, Recorder, Slow
from tests.corpus import LIMITS
from tests.corpus.case import get, post


def house_of(
    handler: Recorder | None = None, trust: TrustedProxies | None = None, **limits: Any
) -> ListenerContext:
    return ListenerContext(
        handler=handler or Recorder(),
        clock=Clock(),
        limits=evolve(LIMITS, **limits),
        trust=trust or TrustedProxies(),
        wall=lambda: 0.0,
        meter=Metrics(strict=True),
    )


class LimitCase(SynchronousTestCase):
    def line(self, context: ListenerContext, **how: Any) -> Line:
        handler = context.handler
        assert isinstance(handler, Recorder)
        return Line(handler, context=context, **how)

    def assert_hits(self, context: ListenerContext, limit: str, times: int) -> None:
        meter = context.meter
        assert isinstance(meter, Metrics)
        self.assertEqual(meter.value("arrival_limits_total", limit=limit) or 0, times, limit)


class ConnectionLimitTests(LimitCase):
    def test_of_one_address(self) -> None:
        for plain in (PLAIN, None):
            context = house_of(max_connections_per_address=2)
            first, second, third = (self.line(context, plain=plain) for _ in range(3))
            other = self.line(context, plain=plain, address="192.0.2.8")
            self.assertEqual(
                [each.gone for each in (first, second, third, other)], [False, False, True, False]
            )
            self.assert_hits(context, "max_connections_per_address", 1)
            first.transport.end(ConnectionAborted)
            self.assertFalse(self.line(context, plain=plain).gone)

    def test_one_that_was_turned_away_takes_no_place(self) -> None:
        context = house_of(max_connections_per_address=1)
        lines = [self.line(context) for _ in range(3)]
        lines[0].transport.end(ConnectionAborted)
        self.assertEqual([self.line(context).gone for _ in range(2)], [False, True])
        self.assertEqual(len(context.connections), 1)

    def test_nothing_is_remembered_of_who_is_gone(self) -> None:
        context = house_of()
        line = self.line(context)
        self.assertEqual(len(context.address_counts), 1)
        line.transport.end(ConnectionAborted)
        self.assertEqual(len(context.address_counts), 0)

    def test_proxies_in_front_are_exempt(self) -> None:
        context = house_of(trust=TrustedProxies.of(["192.0.2.0/24"]), max_connections_per_address=1)
        self.assertEqual([self.line(context).gone for _ in range(3)], [False] * 3)

    def test_an_ipv6_host_has_a_network_to_itself(self) -> None:
        context = house_of(max_connections_per_address=1)
        self.assertFalse(self.line(context, address="2001:db8::1").gone)
        self.assertTrue(self.line(context, address="2001:db8::2").gone)
        self.assertFalse(self.line(context, address="2001:db8:0:1::1").gone)

    def test_in_all(self) -> None:
        context = house_of(max_connections=2)
        lines = [self.line(context) for _ in range(2)]
        self.assertIsNone(Http1Factory(context).buildProtocol(IPv4Address("TCP", "192.0.2.9", 1)))
        self.assert_hits(context, "max_connections", 1)
        lines[0].transport.end(ConnectionAborted)
        self.assertIsNotNone(Http1Factory(context).buildProtocol(None))


class PipelineTests(LimitCase):
    def test_at_the_limit(self) -> None:
        context = house_of(max_pipelined=3)
        line = self.line(context)
        line.send(get() * 3)
        self.assertEqual((line.statuses(), line.transport.half_closed), ([200] * 3, False))
        self.assert_hits(context, "max_pipelined", 0)

    def test_beyond_it_the_last_answer_says_so(self) -> None:
        context = house_of(max_pipelined=3)
        line = self.line(context)
        line.send(get() * 9)
        answers = line.answers()
        self.assertEqual([each.headers.get("connection") for each in answers], [None] * 3 + ["close"])
        self.assertTrue(line.transport.half_closed)
        self.assert_hits(context, "max_pipelined", 1)

    def test_who_waits_for_answers_has_no_such_limit(self) -> None:
        line = self.line(house_of(max_pipelined=1))
        for _ in range(20):
            line.send(get())
        self.assertEqual(line.statuses(), [200] * 20)


class ClockLimitTests(LimitCase):
    def test_a_head(self) -> None:
        context = house_of()
        line = self.line(context)
        line.send(b"GET")
        line.pass_time(LIMITS.header_timeout_s)
        self.assertEqual(line.statuses(), [408])
        self.assert_hits(context, "header_timeout_s", 1)

    def drip(self, line: Line, rate: int, seconds: int) -> None:
        line.send(post(b"", b"Content-Length: 60000"))
        for _ in range(seconds):
            line.send(b"x" * rate)
            line.pass_time(1)

    def test_a_body_at_the_rate(self) -> None:
        context = house_of(min_body_rate=100)
        line = self.line(context)
        self.drip(line, 100, 50)
        self.assertEqual((line.transport.written, line.gone), (b"", False))

    def test_a_body_below_the_rate(self) -> None:
        context = house_of(min_body_rate=100)
        line = self.line(context)
        self.drip(line, 80, 49)
        self.assertEqual(line.transport.written, b"")
        line.send(b"x" * 80)
        line.pass_time(3)
        self.assertEqual(line.statuses(), [408])
        self.assert_hits(context, "min_body_rate", 1)

    def test_silence_at_the_beginning_is_allowed(self) -> None:
        line = self.line(house_of(min_body_rate=100))
        line.send(post(b"", b"Content-Length: 5"))
        line.pass_time(RATE_AFTER_S - 1)
        line.send(b"hello")
        self.assertEqual(line.statuses(), [200])

    def test_the_absolute_clock_stays(self) -> None:
        context = house_of(min_body_rate=100)
        line = self.line(context)
        self.drip(line, 500, int(LIMITS.body_timeout_s))
        self.assertEqual(line.statuses(), [408])
        self.assert_hits(context, "body_timeout_s", 1)
        self.assert_hits(context, "min_body_rate", 0)

    def test_the_rule_by_itself(self) -> None:
        limits = ArrivalSettings(body_timeout_s=60, min_body_rate=10)
        self.assertEqual(body_time(limits, 0), (RATE_AFTER_S, "min_body_rate"))
        self.assertEqual(body_time(limits, 100), (RATE_AFTER_S + 10, "min_body_rate"))
        self.assertEqual(body_time(limits, 500), (60, "body_timeout_s"))
        self.assertEqual(body_time(evolve(limits, min_body_rate=0), 0), (60, "body_timeout_s"))


class SlowReaderTests(LimitCase):
    SIZE = 40_000
    STEP = 8192

    def reader(self, secure: bool) -> tuple[ListenerContext, Line]:
        handler = Recorder(answer=lambda _: Response(200, body=b"x" * self.SIZE))
        context = house_of(handler, min_taken_bytes=self.STEP)
        line = self.line(context, room=0, plain=None if secure else PLAIN)
        line.send(get())
        return context, line

    def test_who_takes_a_step_in_time_gets_all_of_it(self) -> None:
        for secure in (False, True):
            context, line = self.reader(secure)
            while context.budget.used:
                line.transport.drain(self.STEP)
                line.pass_time(LIMITS.write_timeout_s - 1, step_s=1)
            self.assertFalse(line.gone)
            self.assertEqual(len(line.answers()[0].body), self.SIZE)
            self.assert_hits(context, "write_timeout_s", 0)

    def test_who_takes_less_is_cut_off(self) -> None:
        for secure in (False, True):
            context, line = self.reader(secure)
            line.transport.drain(self.STEP)
            line.transport.drain(self.STEP - 1)
            line.pass_time(LIMITS.write_timeout_s - 1)
            self.assertFalse(line.gone)
            line.pass_time(1)
            self.assertIs(line.transport.gone, ConnectionAborted)
            self.assertEqual(context.budget.used, 0)
            self.assert_hits(context, "write_timeout_s", 1)

    def test_only_a_step_is_handed_to_the_transport(self) -> None:
        context, line = self.reader(False)
        self.assertEqual(len(line.transport.waiting), self.STEP)
        self.assertGreater(context.budget.used, self.SIZE)


class MemoryTests(LimitCase):
    """One budget for heads, bodies and responses; the client that has been slow for longest is closed first."""

    def test_heads_are_counted(self) -> None:
        context = house_of()
        line = self.line(context)
        line.send(b"GET /" + b"x" * 995)
        self.assertEqual(context.budget.used, 1000)
        line.send(b" HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual((context.budget.used, line.statuses()), (0, [200]))

    def test_what_is_read_ahead_is_counted(self) -> None:
        slow = Slow()
        context = house_of(Recorder(answer=slow))
        line = self.line(context)
        line.send(get(), b"x" * 1000)
        self.assertEqual(context.budget.used, 1000)
        line.transport.end(ConnectionAborted)
        self.assertEqual(context.budget.used, 0)

    def test_a_head_needs_room(self) -> None:
        context = house_of(body_memory_bytes=1000)
        first, second = self.line(context), self.line(context)
        first.send(b"GET /" + b"x" * 990)
        second.send(b"GET ")
        self.assertEqual((second.transport.written, context.budget.used), (b"", 999))
        second.send(b"/")
        self.assertEqual((second.statuses(), context.budget.used), ([503], 995))
        self.assert_hits(context, "body_memory_bytes", 1)

    def test_the_slowest_goes_when_memory_is_short(self) -> None:
        handler = Recorder(answer=lambda _: Response(200, body=b"x" * 400))
        context = house_of(handler, body_memory_bytes=1600)
        reader, sender, young = (
            self.line(context, room=100),
            self.line(context),
            self.line(context),
        )
        reader.send(get())
        context.clock.advance(1)  # type: ignore[attr-defined]
        sender.send(post(b"x" * 600, b"Content-Length: 1000"))
        young.pass_time(3)
        young.send(post(b"x" * 100, b"Content-Length: 1000"))
        young.pass_time(4)
        self.assertFalse(reader.gone, "there is room")
        young.send(b"x" * 400)
        young.pass_time(0.5)
        self.assertIs(reader.transport.gone, ConnectionAborted)
        self.assertEqual((sender.transport.written, young.transport.written), (b"", b""))
        young.send(b"x" * 490)
        young.pass_time(0.5)
        self.assertTrue(sender.transport.written.startswith(b"HTTP/1.1 503"))
        self.assertEqual((young.transport.written, context.budget.used), (b"", 990))
        self.assert_hits(context, "body_memory_bytes", 2)

    def test_who_has_just_come_is_not_slow(self) -> None:
        context = house_of(body_memory_bytes=1000)
        line = self.line(context)
        line.send(post(b"x" * 950, b"Content-Length: 1000"))
        line.pass_time(4)
        self.assertEqual(line.transport.written, b"")
        line.send(b"x" * 50)
        self.assertEqual(line.statuses(), [200])
