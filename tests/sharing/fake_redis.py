"""A small Redis on a transport in memory that replies what a test wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from hospproxy.sharing.connection import RedisConnection, RedisListener
from hospproxy.sharing.replies import ReplyParser

INFO = {
    b"server": b"# Server\r\nredis_version:8.0.2\r\nrun_id:%s\r\n",
    b"replication": b"# Replication\r\nrole:master\r\n",
}


def bulk(data: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(data), data)


class Wire(StringTransport):
    """One connection, from Redis's side.

    :ivar heard: every command that came.
    """

    def __init__(self, redis: FakeRedis, protocol: RedisConnection) -> None:
        super().__init__()
        self.heard: list[list[bytes]] = []
        self.aborted = False
        self._redis = redis
        self._reader = ReplyParser()
        self.protocol = protocol

    def setTcpNoDelay(self, enabled: bool) -> None:
        assert enabled

    setTcpKeepAlive = setTcpNoDelay

    def getHandle(self) -> None:
        return None

    def write(self, data: bytes) -> None:
        assert not self.aborted
        for command in self._reader.feed(data):
            self.heard.append(command)
            said = self._redis.answer(self, command)
            if said is not None:
                self.protocol.dataReceived(said)

    def abortConnection(self) -> None:
        if not self.aborted:
            self.aborted = True
            self.protocol.connectionLost(Failure(ConnectionDone()))


class FakeRedis:
    """Replies to a link's opening commands, and then as told.

    :ivar says: command → its reply; None, or a missing command: no reply.
    :ivar opening: error with which connecting fails; None: it works.
    :ivar hanging: connecting takes for ever.
    """

    def __init__(self) -> None:
        self.run_id = b"a" * 40
        self.wires: list[Wire] = []
        self.opening: Exception | None = None
        self.hanging = False
        self.tries = 0
        self.says: dict[bytes, bytes | Callable[[Wire, list[bytes]], bytes | None] | None] = {
            b"AUTH": b"+OK\r\n",
            b"SELECT": b"+OK\r\n",
            b"PING": lambda wire, _: (
                b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"
                if any(c[0] == b"SUBSCRIBE" for c in wire.heard)
                else b"+PONG\r\n"
            ),
            b"INFO": self.info,
            b"SUBSCRIBE": lambda _, command: b"*3\r\n$9\r\nsubscribe\r\n" + bulk(command[1]) + b":1\r\n",
        }

    def info(self, wire: Wire, command: list[bytes]) -> bytes:
        said = INFO[command[1]]
        return bulk(said % self.run_id if b"%s" in said else said)

    def answer(self, wire: Wire, command: list[bytes]) -> bytes | None:
        said = self.says.get(command[0])
        return said(wire, command) if callable(said) else said

    async def open(self, kind: Callable[[bool], RedisConnection]) -> Any:
        """The link's ``opener``."""
        self.tries += 1
        if self.hanging:
            await Deferred()
        if self.opening is not None:
            raise self.opening
        connection = kind(False)
        connection.factory = self
        wire = Wire(self, connection)
        self.wires.append(wire)
        connection.makeConnection(wire)
        return await connection.ready

    @property
    def commands(self) -> Wire:
        """The newest connection for commands."""
        return next(wire for wire in reversed(self.wires) if not isinstance(wire.protocol, RedisListener))

    @property
    def listener(self) -> Wire:
        """The newest connection that listens for messages."""
        return next(wire for wire in reversed(self.wires) if isinstance(wire.protocol, RedisListener))
