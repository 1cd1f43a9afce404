"""Runs arrival on real sockets: listeners with short time limits, a recording handler, clients that send any bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from hospproxy.arrival.listener_context import ListenerContext
from hospproxy.arrival.listeners import Listener, Listeners
from hospproxy.options.arrival_section import ArrivalSettings
from tests.arrival.memory_transport import Recorder
from tests.corpus import LIMITS
from tests.corpus.case import in_short


class Caller(Protocol):
    """A client that sends given bytes and keeps what it receives until the connection ends."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.ended: Deferred[type[BaseException]] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(type(reason.value))

    def say(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class ArrivalRig:
    """Listeners of one test.

    :param state: folder for the self-signed certificate.
    """

    def __init__(
        self, state: Path, handler: Recorder | None = None, limits: ArrivalSettings | None = None
    ) -> None:
        self.state = state
        self.handler = handler or Recorder()
        self.handler.clock = reactor
        self.context = ListenerContext(handler=self.handler, clock=reactor, limits=limits or in_short(LIMITS))
        values = [Listener("https://127.0.0.1:0"), Listener("http://127.0.0.1:0", plain="serve")]
        self.listeners = Listeners(values, self.context, state)
        self.listeners.listen(reactor)
        self.secure_port, self.plain_port = (port for _, port in self.listeners.addresses())
        self.logged: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self._observe)

    def _observe(self, event: dict[str, Any]) -> None:
        if event.get("log_level", LogLevel.info) >= LogLevel.warn or "log_failure" in event:
            self.logged.append(event)

    async def call(self, *, secure: bool, caller: Caller | None = None) -> Caller:
        """Connect a client."""
        endpoint: Any = TCP4ClientEndpoint(
            reactor, "127.0.0.1", self.secure_port if secure else self.plain_port
        )
        if secure:
            endpoint = wrapClientTLS(_Trusting(), endpoint)
        return await connectProtocol(endpoint, caller or Caller())

    async def converse(self, data: bytes, *, secure: bool) -> bytes:
        """Send bytes and read until the other side ends the connection.

        :raise TimeoutError: it does not end it.
        """
        caller = await self.call(secure=secure)
        caller.say(data)
        await caller.ended.addTimeout(30, reactor)
        return bytes(caller.received)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds.

        :raise AssertionError: not true within 30 s.
        """
        for _ in range(1500):
            if holds():
                return
            await deferLater(reactor, 0.02, lambda: None)
        raise AssertionError("it never came true")

    async def end(self) -> None:
        """Close everything; nothing may have been logged."""
        await self.listeners.stop(0)
        globalLogPublisher.removeObserver(self._observe)
        assert self.logged == []


class _Trusting(CertificateOptions):
    """Trusts any certificate: these tests are not about the client."""

    def clientConnectionForTLS(self, protocol: Any) -> Any:
        connection = super().clientConnectionForTLS(protocol)
        connection.set_connect_state()
        return connection


def patient(**changes: float) -> ArrivalSettings:
    """The default limits with some of them changed; every body is read before its request is handed on."""
    return evolve(ArrivalSettings(unknown_body_bytes=0), **changes)
