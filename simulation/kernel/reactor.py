"""A reactor for each host: Twisted's interfaces, in virtual time and on the simulated network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import (
    IConnector,
    IDelayedCall,
    IListeningPort,
    IReactorCore,
    IReactorFromThreads,
    IReactorTCP,
    IReactorTime,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .death import Killed
from .events import Events, Owner
from .interfaces import Connecting, ConnectionEnd, Listening, SimulatedProcess, TcpNetwork

_log = Logger()
_PHASES = ("before", "during", "after")


@implementer(IReactorTime, IReactorTCP, IReactorFromThreads, IReactorCore)
class VirtualReactor(Owner):
    """Runs the code of one host or process.

    :param events: the world's.
    :param address: of the host.
    :param random: for times that nothing else sets.
    :ivar on_end: called once everything that belongs to a stop is over.
    """

    def __init__(self, events: Events, network: TcpNetwork, address: str, name: str) -> None:
        super().__init__()
        self.name = name
        self.address = address
        self.network = network
        self.events = events
        self.running = True
        self.ends: dict[ConnectionEnd, None] = {}
        self.ports: dict[Listening, None] = {}
        self.connecting: dict[Connecting, None] = {}
        self.process: SimulatedProcess | None = None
        self.on_end: Callable[[], None] = lambda: None
        self._stopped = False
        self._triggers: dict[int, tuple[str, str, Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {}
        self._number = 0

    def must_live(self) -> None:
        """Check that the process is alive.

        :raise Killed: it is dead.
        """
        if not self.alive:
            raise Killed

    def forget(self) -> None:
        """Drop everything; the world is over."""
        for kept in (self.parked, self.ends, self.ports, self.connecting, self._triggers):
            kept.clear()
        if self.process is not None:
            self.process.forget()

    # IReactorTime

    def seconds(self) -> float:
        return self.events.now

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> IDelayedCall:
        return self.events.after(delay, self, callable, *args, **kwargs)

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        return self.events.of(self)

    # IReactorFromThreads: threads are events

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        self.callLater(0.0, callable, *args, **kwargs)

    # IReactorCore

    def resolve(self, name: str, timeout: Sequence[int] = ()) -> Deferred[str]:
        raise NotImplementedError("names are not resolved here: give addresses")

    def run(self) -> None:
        raise NotImplementedError("the simulation runs it")

    def stop(self) -> None:
        if self._stopped:
            raise ReactorNotRunning
        self._stopped = True
        self.callLater(0.0, self.fireSystemEvent, "shutdown")

    def crash(self) -> None:
        self.on_end()

    def iterate(self, delay: float = 0) -> None:
        raise NotImplementedError("the simulation runs it")

    def fireSystemEvent(self, eventType: str) -> None:
        Deferred.fromCoroutine(self._fire(eventType)).addErrback(_unexpected)

    async def _fire(self, event: str) -> None:
        for phase in _PHASES:
            given = [each for each in self._triggers.values() if each[:2] == (phase, event)]
            waiting = [maybeDeferred(function, *args, **kwargs) for *_, function, args, kwargs in given]
            for each in waiting:
                each.addErrback(_unexpected)
            await DeferredList(waiting)
        if event == "shutdown":
            self.on_end()

    def addSystemEventTrigger(
        self, phase: str, eventType: str, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> int:
        self._number += 1
        self._triggers[self._number] = (phase, eventType, callable, args, kwargs)
        return self._number

    def removeSystemEventTrigger(self, triggerID: int) -> None:
        del self._triggers[triggerID]

    def callWhenRunning(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        callable(*args, **kwargs)

    # IReactorTCP

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:
        self.must_live()
        return self.network.listen(self, port, factory, interface or self.address)

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: object, factory: Any) -> IListeningPort:
        self.must_live()
        host, port = self.network.shared(fileDescriptor)
        return self.network.listen(self, port, factory, host, shared=True)

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30.0,
        bindAddress: object = None,
    ) -> IConnector:
        self.must_live()
        return self.network.connect(self, host, port, factory, timeout)

    # The courier: a process, and a socket pair with it

    def spawnProcess(
        self,
        processProtocol: Any,
        executable: str,
        args: Sequence[str],
        env: Mapping[str, str],
        childFDs: Mapping[int, int | str],
    ) -> None:
        self.must_live()
        assert self.process is not None
        assert "hospproxy.courier.process" in args
        self.process.spawn(processProtocol, childFDs)

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: object, factory: Any) -> None:
        self.must_live()
        assert self.process is not None
        self.process.adopt(factory)


def _unexpected(failure: Failure) -> None:
    _log.failure("a stop failed", failure)
