"""What the supervisor and a worker tell each other, and the channel between them: a pair of sockets."""

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

from ..watch.merging import Overview, Snapshot

MOST_BYTES: Final = 16 << 20
"""Of one message. A snapshot of all metrics, each with all the series that it may have, takes less than half of it."""
MOST_OF_ALL: Final = 65 * MOST_BYTES
"""The same where all workers' snapshots come in one message: of 64 workers and of those that have ended."""
LONGEST_LINE: Final = 64 << 10
"""Characters of a line of the log."""


class Start(msgspec.Struct, frozen=True, tag="start"):
    """Begin to serve.

    :param settings: the settings, pickled: paths in them were made absolute, and secrets were taken from an environment
        that no longer has them. It goes from parent to child only.
    :param listeners: how many sockets for clients it was given; those of the admin listener come after them.
    :param admin: how many of those.
    """

    slot: int
    settings: bytes
    listeners: int
    admin: int

    def __repr__(self) -> str:  # there are secrets in the settings
        return f"Start(slot={self.slot})"


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """Read certificates again."""


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Answer what is under way, and end."""


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """What do you say of yourself?"""

    id: int


class Gathered(msgspec.Struct, frozen=True, tag="gathered"):
    """What all say of themselves."""

    id: int
    overview: Overview


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """It serves."""


class Said(msgspec.Struct, frozen=True, tag="said"):
    """A line for the log.

    :param level: its name.
    :param system: who says it.
    """

    level: str
    system: str
    text: str


class Told(msgspec.Struct, frozen=True, tag="told"):
    """The answer to ``Ask``."""

    id: int
    snapshot: Snapshot


class Gather(msgspec.Struct, frozen=True, tag="gather"):
    """Ask all the others; this is what the one who asks says of itself."""

    id: int
    own: Snapshot


ToWorker = Start | Reload | Stop | Ask | Gathered
FromWorker = Ready | Said | Told | Gather


@implementer(IPushProducer)
class Channel(Int32StringReceiver):
    """One end of it.

    :param kinds: the messages that may come.
    :param received: takes each.
    :param lost: is called when nothing can come any more.
    :param most: bytes of one that comes.
    :ivar full: what was sent before has not left yet, so that what is dispensable had better be dropped.
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
        """Send; to nobody, if the other end is gone."""
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
        """Send what is left, and close; fires when it is closed."""
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
    """Hands out one protocol that exists already."""

    noisy = False

    def __init__(self, protocol: Channel) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: Any) -> Channel:  # noqa: ARG002
        return self._protocol
