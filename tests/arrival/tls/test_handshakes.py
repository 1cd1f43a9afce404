"""Limits on handshakes: at each limit and one beyond it."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.front.trust import TrustedProxies
from hospproxy.arrival.tls import handshakes
from hospproxy.arrival.tls.handshakes import Handshakes
from hospproxy.options.arrival_section import ArrivalSettings


class One:
    def __init__(self) -> None:
        self.aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class HandshakesTests(SynchronousTestCase):
    def make(self, **limits: Any) -> Handshakes:
        self.clock = Clock()
        self.counted: list[str] = []
        trust = TrustedProxies.of(["10.0.0.0/8"])
        return Handshakes(self.clock, ArrivalSettings(**limits), trust.covers, self.counted.append)

    def begin(self, made: Handshakes, host: str) -> One | None:
        if not made.admit(host):
            return None
        one = One()
        made.begin(one, host)
        return one

    def test_over_all(self) -> None:
        made = self.make(max_handshakes=2)
        first = self.begin(made, "192.0.2.1")
        self.assertIsNotNone(self.begin(made, "192.0.2.2"))
        self.assertIsNone(self.begin(made, "10.0.0.1"), "nobody is exempt from this one")
        self.assertEqual(self.counted, ["refused_total"])
        made.end(first, "done")
        self.assertIsNotNone(self.begin(made, "192.0.2.3"))

    def test_of_one_address(self) -> None:
        made = self.make(max_handshakes_per_address=2)
        for host, sibling, other in (
            ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
            ("2001:db8::1", "2001:db8::ff:2", "2001:db8:0:1::1"),
        ):
            self.assertIsNotNone(self.begin(made, host))
            self.assertIsNotNone(self.begin(made, sibling))
            self.assertIsNone(self.begin(made, host))
            self.assertIsNotNone(self.begin(made, other))
        self.assertEqual(self.counted, ["refused_address"] * 2)
        for _ in range(5):
            self.assertIsNotNone(self.begin(made, "10.0.0.1"), "a proxy of ours stands for many")

    def test_rate(self) -> None:
        made = self.make(handshake_rate_per_address=2)
        for _ in range(2):
            made.end(self.begin(made, "192.0.2.1"), "done")
        self.assertIsNone(self.begin(made, "192.0.2.1"))
        self.assertIsNotNone(self.begin(made, "192.0.2.2"))
        self.clock.advance(0.5)
        self.assertIsNotNone(self.begin(made, "192.0.2.1"))
        self.assertIsNone(self.begin(made, "192.0.2.1"))
        self.clock.advance(60)
        self.assertEqual([self.begin(made, "192.0.2.1") is None for _ in range(3)], [False, False, True])
        self.assertEqual(self.counted.count("refused_rate"), 3)

    def test_time(self) -> None:
        made = self.make(handshake_timeout_s=3)
        first = self.begin(made, "192.0.2.1")
        self.clock.advance(2)
        second = self.begin(made, "192.0.2.1")
        assert first is not None
        assert second is not None
        self.clock.advance(1)
        self.assertEqual((first.aborted, second.aborted), (True, False))
        self.clock.advance(2)
        self.assertTrue(second.aborted)
        self.assertEqual((len(made), self.counted, self.clock.getDelayedCalls()), (0, ["timed_out"] * 2, []))

    def test_an_end_is_told_once(self) -> None:
        made = self.make()
        one = self.begin(made, "192.0.2.1")
        made.end(one, "done")
        made.end(one, "failed")
        self.assertEqual((self.counted, self.clock.getDelayedCalls()), (["done"], []))

    def test_memory_is_bounded(self) -> None:
        self.patch(handshakes, "MAX_REMEMBERED", 3)
        made = self.make()
        for number in range(10):
            made.end(self.begin(made, f"192.0.2.{number}"), "done")
        self.assertEqual(list(made._rates), ["192.0.2.7", "192.0.2.8", "192.0.2.9"])
        self.assertEqual(made._by_source, {})
        self.make(max_handshakes_per_address=1, handshake_rate_per_address=1)
