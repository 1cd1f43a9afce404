from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import CannotListenError, ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from hosp_standin import testing
from hosp_standin.machine import Machine
from hosp_standin.service import Place, Standin, load_seed
from hosp_standin.testing import settings


class MemoryTests(SynchronousTestCase):
    def standin(self, **options: Any) -> Standin:
        self.reactor: Any = MemoryReactorClock()
        machine = Machine(load_seed(), settings(**options), self.reactor, lambda: 0.0)
        return Standin(self.reactor, machine, Place("127.0.0.1", 3000), Place("127.0.0.1", 3001))

    def test_listens_where_it_is_told(self) -> None:
        self.standin().startService()
        self.assertEqual(
            [(server[0], server[3]) for server in self.reactor.tcpServers],
            [(3000, "127.0.0.1"), (3001, "127.0.0.1")],
        )

    def test_coming_back_twice_listens_once(self) -> None:
        standin = self.standin()
        standin.startService()
        standin.set_offline(False)
        self.assertEqual(len(self.reactor.tcpServers), 2)

    def test_going_offline_again_replaces_the_return(self) -> None:
        standin = self.standin()
        standin.startService()
        standin.set_offline(True, 5)
        standin.set_offline(True)
        self.reactor.advance(100)
        self.assertTrue(standin.offline)

    def test_nothing_is_left_after_the_end(self) -> None:
        standin = self.standin(delay="fixed:9")
        standin.startService()
        standin.set_offline(True, 5)
        self.successResultOf(standin.stopService())
        self.assertEqual([call for call in self.reactor.getDelayedCalls() if call.time > 2], [])

    def test_the_reset_way_of_being_offline_keeps_the_port(self) -> None:
        standin = self.standin(offline_mode="reset")
        standin.startService()
        factory = self.reactor.tcpServers[0][1]
        standin.set_offline(True)
        self.assertTrue(factory.resetting)
        standin.set_offline(False)
        self.assertFalse(factory.resetting)
        self.assertEqual(len(self.reactor.tcpServers), 2)


class PlaceTests(SynchronousTestCase):
    def test_as_written_in_addresses(self) -> None:
        self.assertEqual([str(Place("127.0.0.1", 80)), str(Place("::1", 80))], ["127.0.0.1:80", "[::1]:80"])


class Client(Protocol):
    """Sends a request, and remembers what came and how the connection ended."""

    def __init__(self) -> None:
        self.received = b""
        self.ended: Deferred[type[BaseException]] = Deferred()
        self.first: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if not self.first.called:
            self.first.callback(None)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        self.ended.callback(type(reason.value))


class SocketTests(TestCase):
    """Real sockets: what only the operating system can show."""

    async def start(self, **options: Any) -> testing.Running:
        running = await testing.start(reactor, **options)
        self.addCleanup(running.stop)
        return running

    async def connect(self, port: int | None) -> Client:
        assert port is not None
        client = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Client())
        self.addCleanup(client.transport.abortConnection)
        return client

    async def ask(self, port: int | None, first_line: str = "GET / HTTP/1.1", more: str = "") -> Client:
        client = await self.connect(port)
        client.transport.write(f"{first_line}\r\nHost: hosp\r\n{more}\r\n".encode())
        return client

    async def test_answers_and_stops(self) -> None:
        running = await self.start()
        client = await self.ask(running.port)
        await client.first
        self.assertTrue(client.received.startswith(b"HTTP/1.1 200 OK"), client.received)
        await running.stop()
        await client.ended
        await self.assertFailure(self.connecting(running.port), ConnectionRefusedError)

    def connecting(self, port: int) -> Deferred[Client]:
        return Deferred.fromCoroutine(self.connect(port))

    async def test_a_reset_is_a_reset_and_a_cut_is_an_end(self) -> None:
        for fault, ended in (
            ("reset_before", ConnectionLost),
            ("reset_after", ConnectionLost),
            ("truncated", ConnectionDone),
            ("cut_head", ConnectionDone),
        ):
            running = await self.start(faults={fault: 1.0})
            client = await self.ask(running.port)
            self.assertIs(await client.ended, ended, fault)
            self.assertEqual(bool(client.received), ended is ConnectionDone)

    async def test_offline_refuses_and_comes_back_on_the_same_port(self) -> None:
        running = await self.start()
        client = await self.ask(running.port)
        await client.first
        port = running.port
        running.standin.set_offline(True)
        self.assertIs(await client.ended, ConnectionLost)
        await self.assertFailure(self.connecting(port), ConnectionRefusedError)
        running.standin.set_offline(False)
        again = await self.ask(port)
        await again.first
        self.assertIn(b"Server is online.", again.received)

    async def test_offline_by_resets(self) -> None:
        running = await self.start(offline_mode="reset")
        running.standin.set_offline(True)
        client = await self.connect(running.port)
        self.assertIs(await client.ended, ConnectionLost)

    async def test_control_port(self) -> None:
        running = await self.start(control=True)
        client = await self.ask(running.control_port, "GET /stats HTTP/1.1", "Connection: close\r\n")
        await client.ended
        self.assertEqual(json.loads(client.received.partition(b"\r\n\r\n")[2])["requests"], 0)

    async def test_a_port_that_is_taken(self) -> None:
        running = await self.start()
        with self.assertRaises(CannotListenError):
            await testing.start(reactor, port=running.port)

    def test_port_file(self) -> None:
        path = self.mktemp()
        machine = Machine(load_seed(), settings(), reactor, lambda: 0.0)
        standin = Standin(reactor, machine, Place("127.0.0.1", 0), Place("127.0.0.1", 0), path)
        standin.startService()
        self.addCleanup(standin.stopService)
        written = json.loads(Path(path).read_text())
        self.assertEqual(written, {"listen": standin.port, "control": standin.control_port})
        self.assertGreater(standin.port, 0)
        self.assertEqual(list(Path(path).parent.glob("*.new")), [])

    async def test_a_stop_with_requests_in_progress_leaves_nothing_behind(self) -> None:
        running = await self.start(delay="fixed:60", places=1)
        arrived: Deferred[None] = Deferred()
        count = running.hosp.stats.arrived

        def arrive(route: str, staff: str) -> None:
            count(route, staff)
            if running.hosp.stats.requests == 3:
                arrived.callback(None)

        self.patch(running.hosp.stats, "arrived", arrive)
        clients = [await self.ask(running.port) for _ in range(3)]
        await arrived
        await running.stop()
        for client in clients:
            self.assertIs(await client.ended, ConnectionLost)
