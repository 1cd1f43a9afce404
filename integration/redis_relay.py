"""A relay in front of a Redis that changes its replies: simulates a Redis that lies, is damaged or slow."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from importlib import resources
from typing import Any, cast

from twisted.internet import defer, protocol
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from hospproxy.sharing.lua_scripts import bare, script

from .relay_ends import FarEnd, NearEnd

Rewrite = Callable[[str, bytes], bytes]
"""Takes the name of the command or script (``message`` for a push message) and the reply; returns what to forward."""
_BARE = ("open",)


def as_it_is(_: str, reply: bytes) -> bytes:
    """Forward a reply unchanged."""
    return reply


class Rewriting(protocol.Factory):
    """Forwards connections to a Redis on a port of this host.

    :ivar rewrite: changes replies.
    :ivar delay_s: seconds by which replies are late.
    :ivar mute: bytes from either side are dropped, and no connection ends.
    :ivar passed: how often each script or command got a reply.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.rewrite: Rewrite = as_it_is
        self.delay_s = 0.0
        self.mute = False
        self.passed: Counter[str] = Counter()
        self.nears: set[_Near] = set()
        self._port: Any = None
        self._names = _names()

    @property
    def port(self) -> int:
        return int(self._port.getHost().port)

    def start(self) -> None:
        from twisted.internet import reactor

        self._port = cast(IListeningPort, cast(Any, reactor).listenTCP(0, self, interface="127.0.0.1"))

    async def stop(self) -> None:
        await defer.maybeDeferred(self._port.stopListening)
        self.cut()

    def cut(self) -> None:
        """End every connection."""
        for near in list(self.nears):
            near.reset()

    def buildProtocol(self, addr: object) -> protocol.Protocol:
        return _Near(self)

    def name_of(self, command: bytes) -> str:
        """Name of a sent command; for a script that is run, the script's name."""
        parts = command.split(b"\r\n", 5)
        word = parts[2].decode("ascii", "replace").upper()
        if word not in ("EVALSHA", "EVAL"):
            return word
        said = command.split(b"\r\n", 4)[4]
        return next((name for key, name in self._names.items() if said.startswith(key)), "a script")


def _names() -> dict[bytes, str]:
    """Names of scripts, by digest and by text."""
    found = {}
    files = resources.files("hospproxy.sharing").joinpath("scripts")
    for file in files.iterdir():
        name = file.name.removesuffix(".lua")
        for made in (bare(name), script(name), script(name, "claims"), script(name, "members")):
            if (made.text == bare(name).text) == (name in _BARE):
                found[made.digest.encode()] = found[made.text.encode()] = name
    return found


class Frames:
    """Splits bytes of RESP into whole values, unchanged."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        self._buffer += data
        found = []
        while (end := _end(self._buffer, 0)) is not None:
            found.append(self._buffer[:end])
            self._buffer = self._buffer[end:]
        return found


def _end(data: bytes, at: int) -> int | None:
    """Where the value that begins at a position ends; None if it is not complete."""
    line = data.find(b"\r\n", at)
    if line < 0:
        return None
    kind, end = data[at : at + 1], line + 2
    if kind == b"$":
        length = int(data[at + 1 : line])
        end += length + 2 if length >= 0 else 0
        return end if end <= len(data) else None
    if kind == b"*":
        for _ in range(int(data[at + 1 : line])):
            found = _end(data, end)
            if found is None:
                return None
            end = found
    return end


class _Near(NearEnd):
    def __init__(self, relay: Rewriting) -> None:
        super().__init__(relay.target, _Far)
        self.relay = relay
        self.asked: deque[str] = deque()
        self._frames = Frames()

    def connectionMade(self) -> None:
        self.relay.nears.add(self)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        if self.relay.mute:
            return
        self.asked += [self.relay.name_of(command) for command in self._frames.feed(data)]
        self.forward(data)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self.relay.nears.discard(self)
        super().connectionLost(reason)


class _Far(FarEnd):
    def __init__(self, near: _Near) -> None:
        super().__init__(near)
        self._frames = Frames()

    def dataReceived(self, data: bytes) -> None:
        from twisted.internet import reactor

        relay = self._near.relay
        for reply in self._frames.feed(data):
            # A push message is a list that begins with a word.
            pushed = reply.startswith(b"*3\r\n$7\r\nmessage\r\n")
            name = "message" if pushed or not self._near.asked else self._near.asked.popleft()
            relay.passed[name] += 1
            if not relay.mute:
                cast(Any, reactor).callLater(relay.delay_s, self._pass, relay.rewrite(name, reply))

    def _pass(self, reply: bytes) -> None:
        if reply and self._near.transport is not None and self._near in self._near.relay.nears:
            self._near.transport.write(reply)
