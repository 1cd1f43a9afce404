"""Connections to Redis: txredisapi's protocol sends commands, a strict parser of our own reads the replies."""

from __future__ import annotations

import os
import socket
import stat
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import txredisapi  # type: ignore[import-untyped]
from OpenSSL import SSL
from OpenSSL.crypto import Error as CryptoError
from service_identity import VerificationError
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ..options.redis_section import RedisSettings
from ..options.secret_fields import MOST
from ..process.client_endpoint import Certificates, Renewed, endpoint_to
from .replies import ErrorReply, InvalidReply, MiB, ReplyParser

MOST_COMMANDS = 1000
"""Most commands that wait for a reply on one connection."""
MOST_BYTES = 64 * MiB
"""Most bytes of commands that wait for a reply: a paused Redis must not fill this process's memory."""
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 20), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 4))


class Full(Exception):
    """Too many commands wait for a reply on this connection; this one was not sent."""


class Lost(Exception):
    """The connection ended. The text says why, and holds nothing of what was sent or received."""


@implementer(IHandshakeListener)
class RedisConnection(txredisapi.BaseRedisProtocol):  # type: ignore[misc]  # it has no types
    """One connection. A reply that belongs to no command ends it.

    :param secure: whether it runs over TLS.
    :ivar ready: fires with this connection once commands may be sent; over TLS, after the handshake.
    :ivar on_lost: called once with the reason, before the commands in flight fail.
    """

    def __init__(self, secure: bool) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self.ready: Deferred[RedisConnection] = Deferred(lambda _: self.drop("it was given up"))
        self.on_lost: Callable[[str], None] | None = None
        self._secure = secure
        self._reader = ReplyParser()
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._why: str | None = None
        self._lost = False

    # What the link calls

    @property
    def under_way(self) -> int:
        """Number of commands that wait for a reply."""
        return len(self._sizes)

    def send(self, *command: bytes | str | int) -> Deferred[Any]:
        """Send a command; the Deferred fires with its reply.

        :raise ErrorReply: through the Deferred: Redis refused the command.
        :raise Lost: through the Deferred: the connection ended. Raised directly if it has ended already.
        :raise Full: too many commands, or bytes of them, wait for a reply.
        """
        if self._why is not None:
            raise Lost(self._why)
        # Encode before counting: an argument that cannot be encoded must leave no gap in the queue of replies.
        spelled = [each if isinstance(each, bytes) else str(each).encode() for each in command]
        size = sum(map(len, spelled))
        if len(self._sizes) >= MOST_COMMANDS or (self._sizes and self._bytes + size > MOST_BYTES):
            raise Full("too many commands at one time")
        self._sizes.append(size)
        self._bytes += size
        reply: Deferred[Any] = self.execute_command(*spelled)
        return reply

    def drop(self, why: str) -> None:
        """Abort the connection, and ignore what still arrives.

        :param why: the reason, for the log.
        """
        self._end(why)
        if self.transport is not None and not self._lost:  # aborting a lost TLS transport fails
            self.transport.abortConnection()

    def _end(self, why: str) -> None:
        """Stop sending and reading. Call ``on_lost`` first, then fail the commands that wait."""
        if self._why is not None:
            return
        self._why = why
        if self.on_lost is not None:
            self.on_lost(why)
        self._fail_all(why)

    def _fail_all(self, why: str) -> None:
        while self._sizes:
            self.replyReceived(Lost(why))

    # What Twisted and txredisapi call

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)
        handle = transport.getHandle()
        if isinstance(handle, socket.socket):
            for option, value in _KEEPALIVE:
                handle.setsockopt(socket.IPPROTO_TCP, option, value)
        super().connectionMade()  # sends no AUTH: the link does that
        if not self._secure:
            self.handshakeCompleted()

    def handshakeCompleted(self) -> None:
        """Fire ``ready``: the certificate was verified (IHandshakeListener)."""
        if not self.ready.called:
            self.ready.callback(self)

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:  # noqa: ARG002
        if self._why is not None:
            return
        try:
            for reply in self._reader.feed(data):
                self.replyReceived(reply)
                if self._why is not None:
                    return
        except InvalidReply as nonsense:
            self.drop(f"it sent an invalid reply: {nonsense}")

    def replyReceived(self, reply: Any) -> None:
        if not self._sizes:
            self.drop("it sent an invalid reply: no command waits for one")
            return
        self._bytes -= self._sizes.popleft()
        super().replyReceived(reply)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        self._end(words_of(reason.value) if reason.value is not None else "the connection ended")
        why = self._why or ""
        # Fail them again, should ``on_lost`` have dropped the connection: txredisapi would raise errors of its own.
        self._fail_all(why)
        super().connectionLost(reason)
        if not self.ready.called:
            self.ready.errback(Failure(Lost(why)))


class RedisListener(RedisConnection):
    """A connection that subscribes to a channel.

    :ivar on_message: called with each payload.
    :ivar channel: the channel, from ``listen`` on.
    """

    on_message: Callable[[bytes], None] | None = None
    channel: bytes | None = None

    def replyReceived(self, reply: Any) -> None:
        match reply:
            case [b"message", channel, bytes(payload)] if channel == self.channel:
                if self.on_message is not None:
                    self.on_message(payload)
            case _:
                super().replyReceived(reply)

    async def listen(self, channel: bytes) -> None:
        """Subscribe to one channel, for as long as the connection lasts.

        :raise InvalidReply: Redis did not confirm the subscription.
        """
        self.channel = channel
        if await self.send(b"SUBSCRIBE", channel) != [b"subscribe", channel, 1]:
            raise InvalidReply("no answer to SUBSCRIBE")


class _RedisConnections(Factory):
    noisy = False

    def __init__(self, protocol: Callable[[bool], RedisConnection], secure: bool) -> None:
        self._made = (protocol, secure)

    def buildProtocol(self, addr: object) -> RedisConnection:  # noqa: ARG002
        protocol, secure = self._made
        connection = protocol(secure)
        connection.factory = self
        return connection


class RedisOpener:
    """Opens connections to Redis. Each time it looks the host name up and reads the certificate files again."""

    def __init__(self, reactor: Any, settings: RedisSettings, timeout_s: float) -> None:
        self._reactor = reactor
        self._address = settings.address
        self._timeout_s = timeout_s
        files = Certificates(settings.ca_file, settings.certificate_file, settings.private_key_file)
        self._certificates = Renewed(files)

    async def __call__(self, protocol: Callable[[bool], RedisConnection]) -> RedisConnection:
        """Open a connection and wait until it is ready; over TLS the certificate is then verified.

        :raise Exception: it failed; ``words_of`` says why.
        """
        secure = self._address.secure
        host = self._address.host
        tls = self._certificates.of(host) if secure else None
        ip = self._address.ip
        endpoint = endpoint_to(self._reactor, str(ip or host), self._address.port, self._timeout_s, tls)
        opening: Deferred[Any] = endpoint.connect(_RedisConnections(protocol, secure))
        opening.addCallback(lambda made: made.ready)
        opening.addTimeout(self._timeout_s, self._reactor)
        connection: RedisConnection = await opening
        return connection


def read_password(settings: RedisSettings) -> bytes | None:
    """Read the current password, without a line end; None if none is set.

    :raise OSError: the password file cannot be read.
    """
    if settings.password is not None:
        return settings.password.value
    if settings.password_file is None:
        return None
    return _content(settings.password_file).rstrip(b"\r\n")


def _content(path: Path) -> bytes:
    # O_NONBLOCK: a named pipe in place of the file must not block the reactor.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is not a regular file", str(path))
        return os.read(descriptor, MOST)
    finally:
        os.close(descriptor)


_WORDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (VerificationError, "its certificate is for another host name"),
    (
        (TimeoutError, error.TimeoutError, error.TCPTimedOutError, CancelledError, error.UserError),
        "it does not answer in time",
    ),
    (error.ConnectionRefusedError, "it refuses connections"),
    (error.DNSLookupError, "its host name cannot be resolved"),
    ((error.NoRouteError, error.ConnectError), "it cannot be reached"),
    ((error.ConnectionLost, error.ConnectionDone, error.ConnectionAborted), "the connection ended"),
    ((ValueError, CryptoError), "a certificate or key file is invalid"),
)


def words_of(problem: BaseException) -> str:
    """Say why there is no connection. The text holds no secret, and of what Redis said only an error's name."""
    if isinstance(problem, Lost | InvalidReply):
        return str(problem)
    if isinstance(problem, ErrorReply):
        return _refusal(problem.code)
    if isinstance(problem, SSL.Error):
        found = problem.args[0] if problem.args and isinstance(problem.args[0], list) else []
        reasons = sorted({str(each[-1]) for each in found if isinstance(each, tuple) and each})
        return ": ".join(["TLS failed", *reasons])
    if isinstance(problem, OSError) and problem.filename is not None:
        return f"{problem.filename} cannot be read: {problem.strerror}"
    for kinds, words in _WORDS:
        if isinstance(problem, kinds):
            return words
    return type(problem).__name__


def _refusal(code: str) -> str:
    if code == "WRONGPASS":
        return "user or password is wrong"
    if code == "NOAUTH":
        return "it requires a password: set redis.password_file"
    if code == "NOPERM":
        return "its user lacks a permission that is needed (docs/redis.md)"
    return f"it answers {code}"
