"""A Redis on the simulated network: fakeredis runs the proxy's own scripts, in virtual time."""

from __future__ import annotations

import copy
import sys
import time
from collections import deque
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import fakeredis
from fakeredis._helpers import SimpleError, SimpleString
from fakeredis._socket import FakeSocket
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from .interfaces import World
from .machine import Host, WallClock

_INFO = {
    b"server": "# Server\r\nredis_version:7.2.0\r\nrun_id:{run_id}\r\n",
    b"replication": "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n",
}
_clock: list[Redis] = []
"""The Redis whose commands run at this moment."""


def _time() -> float:
    return _clock[-1].wall.now() if _clock else 0.0


def _set_clock() -> None:
    """Make fakeredis take the time from us: it has no parameter for a clock."""
    ours = SimpleNamespace(**{name: getattr(time, name) for name in dir(time) if not name.startswith("_")})
    ours.time = _time
    for name, module in list(sys.modules.items()):
        if name.startswith("fakeredis") and getattr(module, "time", None) is time:
            module.time = ours  # type: ignore[attr-defined]


class Redis:
    """One server. A test persists its data with ``save`` and ``restore``.

    :ivar wall: the clock that its scripts see.
    """

    def __init__(self, world: World, address: str, port: int = 6379, name: str = "redis") -> None:
        _set_clock()
        self.host = Host(world, name, address)
        self.wall = WallClock(world, name)
        self._world = world
        self._port_number = port
        self._factory = _Connections(self)
        self._connections: dict[_Connection, None] = {}
        self._slow_s = 0.0
        self._starts = 0
        self._port: Any = None
        self._saved: dict[int, dict[bytes, Any]] = {}
        self._server = self._anew()
        self.back()

    # Called by a simulation

    def away(self) -> None:
        """The server ends: connections break, and new ones are refused. It keeps its data."""
        if self._port is None:
            return
        self._world.log("redis away", name=self.host.name)
        self._port.close()
        self._port = None
        for connection in list(self._connections):
            connection.transport.abortConnection()  # type: ignore[union-attr]

    def back(self) -> None:
        """The server runs again: another run, with the same data, and no scripts or subscribers."""
        if self._port is not None:
            return
        self._starts += 1
        kept = self._content()
        self._server = self._anew()
        self._put(kept)
        self._world.log("redis back", name=self.host.name, run=self._starts)
        self._port = self._world.network.listen(
            self.host.reactor, self._port_number, self._factory, self.host.address
        )

    def empty(self) -> None:
        """Delete all data while it runs."""
        self._world.log("redis emptied", name=self.host.name)
        for database in self._server.dbs.values():
            with self._server.lock:
                database.clear()

    def save(self) -> None:
        """Take a snapshot of its data."""
        self._saved = copy.deepcopy(self._content())

    def restore(self) -> None:
        """Return to the snapshot, like a replica that lacks the latest writes, or a backup. Its run continues."""
        self._world.log("redis restored", name=self.host.name)
        for database in self._server.dbs.values():
            with self._server.lock:
                database.clear()
        self._put(copy.deepcopy(self._saved))

    def slow(self, seconds: float) -> None:
        """Make every command take this long: half before it is carried out, half before its reply."""
        self._slow_s = seconds

    # Called by connections

    @property
    def run_id(self) -> str:
        """Changes with each start."""
        return f"{self._starts:040x}"

    def opened(self, connection: _Connection) -> _Socket:
        """A client has connected."""
        self._connections[connection] = None
        return _Socket(self._server, connection)

    def closed(self, connection: _Connection) -> None:
        """A connection is over."""
        self._connections.pop(connection, None)

    def half(self) -> float:
        """Seconds that a command waits, and its reply."""
        return self._slow_s / 2

    def carry_out(self, connection: _Connection, command: list[bytes]) -> None:
        """Carry out a command, if the connection still exists."""
        if connection not in self._connections:
            return
        if command[0].upper() == b"INFO":
            section = command[1].lower() if len(command) > 1 else b"server"
            connection.reply(_INFO.get(section, "").format(run_id=self.run_id).encode())
            return
        _clock.append(self)
        try:
            connection.socket._process_command(command)
        finally:
            _clock.pop()

    def _anew(self) -> Any:
        return fakeredis.FakeServer(version=(7, 2))

    def _content(self) -> dict[int, dict[bytes, Any]]:
        if not hasattr(self, "_server"):
            return {}
        return {number: database._dict for number, database in self._server.dbs.items()}

    def _put(self, content: dict[int, dict[bytes, Any]]) -> None:
        for number, items in content.items():
            for key, item in items.items():
                self._server.dbs[number][key] = item


class _Compiled:
    """A Lua runtime that compiles each script once: fakeredis does it at each call."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self._scripts: dict[bytes, Any] = {}
        self.table_from = runtime.table_from

    def execute(self, script: bytes) -> Any:
        """Run a script."""
        compiled = self._scripts.get(script)
        if compiled is None:
            compiled = self._scripts[script] = self._runtime.compile(script)
        return compiled()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)


class _Socket(FakeSocket):
    """A client, as fakeredis sees it. Its replies stay what Redis would have sent."""

    def __init__(self, server: Any, connection: _Connection) -> None:
        self._connection = connection
        super().__init__(server, 0, client_class=type(self))

    def put_response(self, msg: Any) -> None:
        self._connection.reply(msg)

    def _decode_result(self, result: Any) -> Any:
        return result

    def _get_server_runtime(self, server: Any) -> Any:
        if not hasattr(server, "_compiled"):
            server._compiled = _Compiled(super()._get_server_runtime(server))
        return server._compiled

    def publish(self, channel: bytes, message: bytes) -> int:
        """Deliver in the order of subscription: fakeredis keeps a set."""
        sockets = sorted(self._server.subscribers.get(channel, ()), key=lambda each: each.number)
        for socket in sockets:
            socket.put_response([b"message", channel, message])
        return len(sockets)

    @property
    def number(self) -> int:
        """Number of the connection."""
        return int(self._client_info["id"])


class _Connection(Protocol):
    """Takes commands (RESP, version 2), one after another."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._buffer = b""
        self._commands: deque[list[bytes]] = deque()
        self._busy = False
        self.socket: Any = None

    def connectionMade(self) -> None:
        self.socket = self._redis.opened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._redis.closed(self)
        self.socket.kill()

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        while (command := self._command()) is not None:
            self._commands.append(command)
        self._next()

    def _command(self) -> list[bytes] | None:
        parts, at = self._buffer.split(b"\r\n", 1)[0], 0
        if b"\r\n" not in self._buffer:
            return None
        at, fields = len(parts) + 2, []
        for _ in range(int(parts[1:])):
            end = self._buffer.find(b"\r\n", at)
            if end < 0:
                return None
            length = int(self._buffer[at + 1 : end])
            at = end + 2
            if len(self._buffer) < at + length + 2:
                return None
            fields.append(self._buffer[at : at + length])
            at += length + 2
        self._buffer = self._buffer[at:]
        return fields

    def _next(self) -> None:
        while self._commands and not self._busy:
            half = self._redis.half()
            command = self._commands.popleft()
            if half:
                self._busy = True
                self._redis.host.reactor.callLater(half, self._slowly, command, half)
            else:
                self._redis.carry_out(self, command)

    def _slowly(self, command: list[bytes], half: float) -> None:
        self._redis.carry_out(self, command)
        self._redis.host.reactor.callLater(half, self._go_on)

    def _go_on(self) -> None:
        self._busy = False
        self._next()

    def reply(self, value: Any) -> None:
        """Send a reply, or a channel's message; if the server is slow, after the other half of the delay."""
        half = self._redis.half()
        assert self.transport is not None
        if half:
            self._redis.host.reactor.callLater(half, self.transport.write, spelled(value))
        else:
            self.transport.write(spelled(value))


class _Connections(Factory):
    noisy = False

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def buildProtocol(self, addr: Any) -> _Connection:
        return _Connection(self._redis)


def spelled(value: Any) -> bytes:
    """A reply as Redis writes it (RESP, version 2)."""
    match value:
        case None:
            return b"$-1\r\n"
        case SimpleString():
            return b"+" + value.value + b"\r\n"
        case SimpleError():
            return b"-" + value.value.replace("\r", " ").replace("\n", " ").encode() + b"\r\n"
        case bool() | int():
            return b":%d\r\n" % value
        case bytes():
            return b"$%d\r\n%s\r\n" % (len(value), value)
        case str() | float():
            return spelled(str(value).encode())
        case dict():
            return spelled([part for pair in value.items() for part in pair])
        case _:
            items: Iterable[Any] = value
            return b"*%d\r\n" % len(value) + b"".join(map(spelled, items))
