"""The messages between the supervisor and a worker, and the channel that carries them: a socket pair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from ..watch.merge import Overview, Snapshot

MOST_BYTES: Final = 16 << 20
"""Longest message in bytes.

A snapshot with the maximum number of series of every metric takes less than half of it.
"""
MOST_OF_ALL: Final = 65 * MOST_BYTES
"""The same for a message with all snapshots: of 64 workers, and the merged one of workers that have exited."""
LONGEST_LINE: Final = 64 << 10
"""Longest log line in characters."""


class Start(msgspec.Struct, frozen=True, tag="start"):
    """To a worker: start to serve.

    :param settings: the settings, pickled. Paths in them are absolute, and secrets are included that the environment
        no longer has. This goes from parent to child only.
    :param listeners: number of inherited client sockets; those of the admin listener follow them.
    :param admin: number of inherited sockets of the admin listener.
    """

    slot: int
    settings: bytes
    listeners: int
    admin: int

    def __repr__(self) -> str:  # the settings contain secrets
        return f"Start(slot={self.slot})"


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """To a worker: read certificates and secrets again."""


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """To a worker: finish the requests in flight, then exit."""


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """To a worker: send a snapshot of your metrics and health."""

    id: int


class Gathered(msgspec.Struct, frozen=True, tag="gathered"):
    """To a worker: the snapshots of all workers; the reply to ``Gather``."""

    id: int
    overview: Overview


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """From a worker: it accepts connections now."""


class Said(msgspec.Struct, frozen=True, tag="said"):
    """From a worker: a log line, which the supervisor writes to its own log.

    :param level: name of the log level.
    :param system: the logger's namespace.
    """

    level: str
    system: str
    text: str


class Told(msgspec.Struct, frozen=True, tag="told"):
    """From a worker: its snapshot; the reply to ``Ask``."""

    id: int
    snapshot: Snapshot


class Gather(msgspec.Struct, frozen=True, tag="gather"):
    """From a worker: collect the snapshots of all others; its own is included."""

    id: int
    own: Snapshot


ToWorker = Start | Reload | Stop | Ask | Gathered
FromWorker = Ready | Said | Told | Gather


@implementer(IPushProducer)
class Channel(Int32StringReceiver):
    """One end of the channel between the supervisor and a worker.

    :param kinds: union of the message types that may arrive.
    :param received: called with each message.
    :param lost: called when the other end has closed and this end has not.
    :param most: longest message in bytes that is accepted.
    :ivar full: earlier messages have not been sent yet, so drop what is dispensable.
    """

    def __init__(
        self,
        kinds: Any,
        received: Callable[[Any], None],
        lost: Callable[[], None] = lambda: None,
        most: int = MOST_BYTES,
    ) -> None:
        self.MAX_LENGTH = most
        self._decoder = msgspec.msgpack.Decoder(kinds)
        self._received = received
        self._lost = lost
        self._closed: list[Deferred[None]] = []
        self.full = False
        self.open = False

    def connectionMade(self) -> None:
        self.open = True
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]

    def say(self, message: ToWorker | FromWorker) -> None:
        """Send a message; does nothing if the channel is closed."""
        if self.open:
            self.sendString(msgspec.msgpack.encode(message))  # type: ignore[no-untyped-call]

    def stringReceived(self, string: bytes) -> None:
        try:
            message = self._decoder.decode(string)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.transport.abortConnection()  # type: ignore[union-attr]
            return
        self._received(message)

    def close(self) -> Deferred[None]:
        """Send what is pending, and close; fires when the channel is closed."""
        done: Deferred[None] = Deferred()
        if not self.open:
            done.callback(None)
            return done
        self._closed.append(done)
        self.transport.unregisterProducer()  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]
        return done

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self.open = False
        closed, self._closed = self._closed, []
        if not closed:
            self._lost()
        for done in closed:
            done.callback(None)

    def pauseProducing(self) -> None:
        self.full = True

    def resumeProducing(self) -> None:
        self.full = False

    def stopProducing(self) -> None:
        pass


class Once(Factory):
    """A factory for one existing protocol object."""

    noisy = False

    def __init__(self, protocol: Channel) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: Any) -> Channel:  # noqa: ARG002
        return self._protocol
