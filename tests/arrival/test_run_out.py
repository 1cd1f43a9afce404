"""Connections of a process whose successor serves: no idle one is closed early, and each ends after one response."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.connection_state import State
from tests.arrival.connection_driver import Driven
from tests.corpus.case import get

IDLE_S = 80.0


class RunOutTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.there = Driven()
        self.connections = self.there.context.connections

    def run_out(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.connections.run_out(IDLE_S))

    def idle(self) -> None:
        self.there.send(get())
        self.there.handler.respond()
        self.assertIs(self.there.state, State.IDLE)

    def test_an_idle_connection_stays_open_and_its_next_response_is_the_last(self) -> None:
        self.idle()
        over = self.run_out()
        self.assertIs(self.there.state, State.IDLE)
        self.there.send(get())
        self.there.handler.respond()
        self.assertIn(b"connection: close\r\n", self.there.transport.written)
        self.assertIs(self.there.state, State.CLOSING)
        self.assertNoResult(over)
        self.there.leave()
        self.successResultOf(over)

    def test_a_connection_that_is_not_used_closes_when_it_would_have_anyway(self) -> None:
        self.idle()
        over = self.run_out()
        self.there.pass_time(self.there.context.limits.keep_alive_s - 1)
        self.assertIs(self.there.state, State.IDLE)
        self.assertNoResult(over)
        self.there.pass_time(2)
        self.assertIs(self.there.state, State.CLOSED)
        self.successResultOf(over)

    def test_it_does_not_wait_for_ever(self) -> None:
        over = self.run_out()
        self.there.clock.advance(IDLE_S)
        self.successResultOf(over)

    def test_without_connections_it_is_over_at_once(self) -> None:
        self.there.leave()
        self.successResultOf(self.run_out())

    def test_what_is_owed_a_response_is_counted(self) -> None:
        self.assertEqual(self.connections.responding(), 0)
        self.there.send(get())
        self.assertEqual(self.connections.responding(), 1)
        self.assertEqual(self.connections.responding(shortcuts=False), 1)
        self.there.handler.respond()
        self.assertEqual(self.connections.responding(), 0)
