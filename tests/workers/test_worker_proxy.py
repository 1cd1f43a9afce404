"""What a worker does in a replacement: as an old one, as a new one, and when its supervisor is gone."""

from __future__ import annotations

import os
import socket
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import Settings, UpstreamSettings
from hospproxy.process.shutdown import GRACE_S, Step
from hospproxy.workers import worker_proxy
from hospproxy.workers.worker_proxy import WorkerProxy

SETTINGS = Settings(
    upstream=UpstreamSettings(url="http://127.0.0.1:1"), workers=2, deadline_s=20.0, drain_s=7.0
)


class FakeReactor(Clock):
    """Adopts connections, and notes that it was stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.channels: list[Any] = []
        self.stopped = 0

    def adoptStreamConnection(self, number: int, family: int, factory: Any) -> None:
        channel = factory.buildProtocol(None)
        channel.makeConnection(StringTransport())
        self.channels.append(channel)

    def stop(self) -> None:
        self.stopped += 1


class FakeConnections:
    """Open connections, until the test says that there are none."""

    def __init__(self) -> None:
        self.over: Deferred[None] = Deferred()
        self.in_flight = 0

    async def run_out(self, idle_s: float) -> None:
        await self.over

    def responding(self, *, shortcuts: bool) -> int:
        return self.in_flight


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.closing: Deferred[None] = Deferred()
        self.built: list[Any] = []
        self.listening = socket.socket()
        self.addCleanup(self.listening.close)
        self.service = self.build()
        outgoing, self.relay = socket.socketpair()
        self.addCleanup(self.relay.close)
        self.lock = os.open(os.devnull, os.O_RDONLY)
        self.left: list[int] = []
        self.ends_with_parent: list[bool] = []
        self.ends_within: list[float] = []
        self.patch(worker_proxy, "leave", self.left.append)
        self.patch(worker_proxy, "end_with_parent", self.ends_with_parent.append)
        self.patch(worker_proxy, "end_within", self.ends_within.append)
        self.proxy = WorkerProxy(
            self.service, self.reactor, lambda _before, _seat: self.build(), outgoing.detach(), self.lock
        )
        self.replies: list[str] = []

    def build(self) -> Any:
        made = mock.Mock(settings=SETTINGS, admin=None, running=True)
        made.context.connections = FakeConnections()
        made.context.shortcuts = None
        made.listeners.ports = [mock.Mock(fileno=self.listening.fileno)]
        made.listeners.stop = mock.Mock(side_effect=_done)
        made.stopService = mock.Mock(side_effect=_done)
        made.ending.side_effect = lambda: [Step("journal", lambda _: self.closing, 1.0)]
        made.health.reasons.return_value = {}
        self.built.append(made)
        return made

    def held(self) -> None:
        self.proxy.hold(22.0, self.replies.append)
        self.assertEqual(self.replies, [""])
        self.replies.clear()

    def closed(self) -> None:
        self.held()
        self.proxy.close(self.replies.append)
        self.closing.callback(None)
        self.assertEqual(self.replies, [""])
        self.replies.clear()


class OldWorker(Case):
    def test_it_finishes_what_is_in_flight(self) -> None:
        self.service.context.connections.in_flight = 1
        self.proxy.hold(22.0, self.replies.append)
        self.reactor.advance(1.0)
        self.assertEqual(self.replies, [])
        self.service.context.connections.in_flight = 0
        self.reactor.advance(0.1)
        self.assertEqual(self.replies, [""])
        self.service.listeners.ports[0].stopReading.assert_called_once_with()

    def test_requests_that_do_not_end(self) -> None:
        self.service.context.connections.in_flight = 1
        self.proxy.hold(22.0, self.replies.append)
        self.reactor.pump([0.1] * 230)
        self.assertEqual(self.replies, ["1 requests were still in flight after 22 s"])
        self.service.parts.chain.divert.assert_called_with(None)
        self.service.context.connections.in_flight = 0
        self.replies.clear()
        self.held()  # the next replacement works

    def test_a_replacement_that_is_given_up_lets_requests_go_on(self) -> None:
        for in_flight in (1, 0):
            self.service.context.connections.in_flight = in_flight
            self.proxy.hold(22.0, self.replies.append)
            self.service.parts.chain.divert.reset_mock()
            self.proxy.release()
            self.service.parts.chain.divert.assert_called_once_with(None)
        self.assertEqual(self.replies, ["it was given up", ""])

    def test_it_closes_only_what_it_holds(self) -> None:
        self.proxy.close(self.replies.append)
        self.assertEqual(self.replies, ["it does not hold its requests"])
        self.service.ending.assert_not_called()

    def test_a_part_that_does_not_end_is_named(self) -> None:
        self.held()
        self.proxy.close(self.replies.append)
        self.reactor.pump([1.0] * 30)
        self.assertEqual(self.replies, ["journal did not end"])
        self.flushLoggedErrors()

    def test_it_opens_the_folder_again_and_serves(self) -> None:
        self.closed()
        self.proxy.reopen(self.replies.append)
        self.assertEqual(self.replies, [""])
        self.assertIs(self.proxy.service, self.built[1])
        self.built[1].startService.assert_called_once_with()
        self.closing = Deferred()
        self.replies.clear()
        self.held()  # the next replacement works

    def test_a_folder_that_cannot_be_opened_again_ends_it(self) -> None:
        self.closed()
        with mock.patch.object(worker_proxy.OwnedProxy, "reopen", side_effect=SystemExit(3)):
            self.proxy.reopen(self.replies.append)
        self.assertEqual(self.left, [3])

    def test_it_relays_and_ends_with_its_last_connection(self) -> None:
        self.closed()
        self.proxy.leave_to_successor()
        self.assertEqual(len(self.reactor.channels), 1)
        self.assertRaises(OSError, os.fstat, self.lock)  # a crash of the new worker frees the folder
        self.assertEqual(self.reactor.stopped, 0)
        self.service.context.connections.over.callback(None)
        self.assertEqual(self.reactor.stopped, 1)
        self.successResultOf(Deferred.fromCoroutine(self.proxy.stop()))
        self.service.stopService.assert_not_called()  # its parts have ended
        self.service.listeners.stop.assert_called_once_with(SETTINGS.drain_s)

    def test_without_a_successor_it_ends_at_once(self) -> None:
        self.closed()
        self.proxy.leave_to_successor()
        self.reactor.channels[0].connectionLost()
        self.assertEqual(self.reactor.stopped, 1)

    def test_it_leaves_only_what_is_closed(self) -> None:
        self.held()
        self.proxy.leave_to_successor()
        self.assertEqual(self.reactor.channels, [])
        os.close(self.lock)


class NewWorker(Case):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(os.close, self.lock)
        incoming, self.old = socket.socketpair()
        self.addCleanup(self.old.close)
        self.proxy.take_over_later([incoming])

    def test_it_opens_nothing_before_it_is_told_and_serves_nobody_before_all_do(self) -> None:
        self.service.privilegedStartService.assert_not_called()
        opened: list[bool] = []
        self.service.health.reasons.return_value = {"journal": "not open"}
        self.proxy.open(lambda: opened.append(True))
        port = self.service.listeners.ports[0]
        port.stopReading.assert_called_once_with()
        self.assertEqual(opened, [])
        self.service.health.reasons.return_value = {"redis": "away"}
        self.reactor.advance(0.1)
        self.assertEqual((opened, self.reactor.channels), ([True], []))
        port.startReading.assert_not_called()
        self.proxy.serve()
        port.startReading.assert_called_once_with()
        self.assertEqual(len(self.reactor.channels), 1)

    def test_it_ends_with_its_supervisor_until_it_serves(self) -> None:
        self.assertEqual(self.ends_with_parent, [True])
        self.proxy.orphaned()
        self.assertEqual(self.left, [1])
        self.proxy.open(lambda: None)
        self.proxy.serve()
        self.assertEqual(self.ends_with_parent, [True, False])

    def test_an_older_process_still_relays_through_it_when_it_is_replaced(self) -> None:
        self.proxy.open(lambda: None)
        self.proxy.serve()
        self.held()
        self.proxy.close(self.replies.append)
        self.closing.callback(None)
        with mock.patch.object(worker_proxy.os, "close"):
            self.proxy.leave_to_successor()
        self.service.context.connections.over.callback(None)
        self.reactor.advance(1.0)
        self.assertEqual(self.reactor.stopped, 0)
        self.reactor.channels[0].connectionLost()
        self.reactor.advance(0.1)
        self.assertEqual(self.reactor.stopped, 1)


class Orphaned(Case):
    """The supervisor is gone."""

    def test_it_drains(self) -> None:
        self.addCleanup(os.close, self.lock)
        self.proxy.orphaned()
        self.assertEqual((self.ends_within, self.reactor.stopped), ([SETTINGS.drain_s + GRACE_S], 1))

    def test_requests_that_it_holds_go_on(self) -> None:
        self.addCleanup(os.close, self.lock)
        self.held()
        self.proxy.orphaned()
        self.service.parts.chain.divert.assert_called_with(None)
        self.assertEqual((self.left, self.reactor.stopped), ([], 1))

    def test_with_a_closed_folder_it_ends_at_once(self) -> None:
        self.addCleanup(os.close, self.lock)
        self.closed()
        self.proxy.orphaned()
        self.assertEqual(self.left, [1])

    def test_what_relays_goes_on_until_its_last_connection(self) -> None:
        self.closed()
        self.proxy.leave_to_successor()
        self.proxy.orphaned()
        self.assertEqual((self.left, self.reactor.stopped), ([], 0))
        self.assertEqual(len(self.ends_within), 1)
        self.service.context.connections.over.callback(None)
        self.assertEqual(self.reactor.stopped, 1)


def _done(*_: Any) -> Deferred[None]:
    done: Deferred[None] = Deferred()
    done.callback(None)
    return done
