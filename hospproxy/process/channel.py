"""A socket pair between a process and one that it started: typed messages, and the log lines of the started one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, eventAsText
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from twisted.python.threadable import isInIOThread
from zope.interface import implementer

MOST_BYTES: Final = 16 << 20
"""Longest message in bytes.

A snapshot with the maximum number of series of every metric takes less than half of it.
"""
LONGEST_LINE: Final = 64 << 10
"""Longest log line in characters."""


class WorkerLogLine(msgspec.Struct, frozen=True, tag="said"):
    """A log line of the started process, which the other one writes to its own log.

    :param level: name of the log level.
    :param system: the logger's namespace.
    """

    level: str
    system: str
    text: str


@implementer(IPushProducer)
class Channel(Int32StringReceiver):
    """Sends and receives messages over one end of a socket pair.

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

    def say(self, message: msgspec.Struct) -> None:
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


class SingleProtocolFactory(Factory):
    """A factory for one existing protocol object."""

    noisy = False

    def __init__(self, protocol: Channel) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: Any) -> Channel:  # noqa: ARG002
        return self._protocol


@implementer(ILogObserver)
class LogForwarder:
    """Sends the log events of this process through a channel, to the process that started it.

    While that process does not read, lines are dropped: logging never waits.

    :param before: called before a line is sent.
    """

    def __init__(self, reactor: Any, channel: Channel, before: Callable[[], object] = lambda: None) -> None:
        self._reactor = reactor
        self._channel = channel
        self._before = before
        self._dropped = 0

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info)
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)[:LONGEST_LINE]
        said = WorkerLogLine(level.name, str(event.get("log_namespace", "-")), text)
        if isInIOThread():
            self._say(said)
        else:
            self._reactor.callFromThread(self._say, said)

    def _say(self, said: WorkerLogLine) -> None:
        self._before()
        if self._channel.full:
            self._dropped += 1
            return
        if self._dropped:
            words = f"{self._dropped} log lines were dropped: they were not read in time"
            self._channel.say(WorkerLogLine("warn", "hospproxy.process.channel", words))
            self._dropped = 0
        self._channel.say(said)


def log_again(said: WorkerLogLine, process: str, **fields: Any) -> None:
    """Log a line of another process as our own.

    :param process: which one, a format for ``fields``; the line begins with it.
    """
    try:
        level = LogLevel.lookupByName(said.level)
    except ValueError:
        level = LogLevel.info
    text = said.text[:LONGEST_LINE]
    Logger(namespace=said.system[:200]).emit(level, f"{process}: {{text}}", text=text, **fields)
