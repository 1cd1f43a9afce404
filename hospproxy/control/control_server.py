"""One connection of the control socket: reads the command, runs it, and responds."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from twisted.internet import task
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from ..process.background import Background
from ..record.admin_events import Operator, account
from .command import Command, Progress, Result
from .commands import COMMANDS
from .control_socket import ControlSocket, user_of
from .messages import (
    MOST_REQUEST,
    MOST_RESPONSE,
    REQUEST_S,
    ControlError,
    ControlRequest,
    ControlResponse,
    encoded,
    request_of,
)
from .owner import Owner

_log = Logger()
MOST_CONNECTIONS: Final = 8
_LOOK_S: Final = 0.02


class ControlServer:
    """Serves the control socket of a state folder.

    :param owner: this process, as the commands see it.
    :param commands: by name.
    """

    def __init__(
        self, reactor: Any, folder: Path, owner: Owner, commands: Mapping[str, Command] = COMMANDS
    ) -> None:
        self._reactor = reactor
        self._owner = owner
        self._commands = commands
        self._socket = ControlSocket(reactor, folder, self._accepted)
        self._connections: set[ControlConnection] = set()
        self._changing: str | None = None
        self._left = False

    def start(self) -> None:
        """Listen. Call it once the process has its final user."""
        self._socket.start()

    def leave(self) -> None:
        """Stop listening; commands that are running still respond, and no other one begins."""
        self._left = True
        self._socket.stop()

    async def responded(self) -> None:
        """Wait until the clients of all commands have their responses, or are gone. Call it after ``leave``."""
        while self._connections:
            await task.deferLater(self._reactor, _LOOK_S)

    def stop(self) -> None:
        """Stop listening, and close every connection."""
        self._socket.stop()
        for each in list(self._connections):
            each.abort()

    def _accepted(self, peer: socket.socket) -> None:
        with peer:
            if len(self._connections) < MOST_CONNECTIONS:
                operator = account(user_of(peer), "control socket")
                factory = Factory.forProtocol(lambda: ControlConnection(self._reactor, self, operator))
                factory.noisy = False
                self._reactor.adoptStreamConnection(peer.fileno(), socket.AF_UNIX, factory)

    def opened(self, connection: ControlConnection) -> None:
        """Count a connection, so that a stop can close it."""
        self._connections.add(connection)

    def closed(self, connection: ControlConnection) -> None:
        """A connection is closed; a command that it has started goes on."""
        self._connections.discard(connection)

    async def run(self, request: ControlRequest, progress: Progress, operator: Operator) -> Result:
        """Carry out a command; only one that changes something runs at a time.

        :param progress: gets sentences for the operator while it runs.
        :param operator: who asks.
        :raise ControlError: there is no such command, another one is changing something, another process has taken
            over, or it failed.
        """
        if self._left:  # it has connected before; the state folder belongs to somebody else now
            raise ControlError("the proxy has just been replaced; try again")
        command = self._commands.get(request.command)
        if command is None:
            raise ControlError(
                f"the running proxy knows no command {request.command[:40]!r}; it knows"
                f" {', '.join(self._commands)}"
            )
        if not command.alone:
            return await command.run(self._owner, request.arguments, progress, operator)
        if self._changing is not None:
            raise ControlError(f"{self._changing} is still running; try again when it has ended")
        self._changing = command.name
        try:
            return await command.run(self._owner, request.arguments, progress, operator)
        finally:
            self._changing = None


class ControlConnection(LineReceiver):
    """A client of the control socket: one command, and its response.

    :param operator: the account of the process at the other end.
    """

    delimiter = b"\n"
    MAX_LENGTH = MOST_REQUEST

    def __init__(self, reactor: Any, server: ControlServer, operator: Operator) -> None:
        self._reactor = reactor
        self._server = server
        self._operator = operator
        self._open = self._asked = False
        self._late: IDelayedCall | None = None
        self._background = Background(_log, "a command of hospproxyctl failed")

    def connectionMade(self) -> None:
        self._open = True
        self._server.opened(self)
        self._late = self._reactor.callLater(REQUEST_S, self.abort)

    def abort(self) -> None:
        """Close the connection at once."""
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def lineReceived(self, line: bytes) -> None:
        if self._asked:  # one command for each connection
            return
        self._asked = True
        self._in_time()
        self._background.run(self._answer(line))

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002
        self._end(ControlResponse(error=[f"the request is longer than {MOST_REQUEST} bytes"]))

    def progress(self, sentence: str) -> None:
        """Tell the client what is going on."""
        self._send(ControlResponse(progress=sentence))

    async def _answer(self, line: bytes) -> None:
        try:
            result = await self._server.run(request_of(line), self.progress, self._operator)
        except ControlError as error:
            self._end(ControlResponse(error=list(error.lines)))
        except Exception as error:
            self._end(ControlResponse(error=[f"it failed: {error!r}; the log of the proxy says more"]))
            raise
        else:
            self._end(ControlResponse(result=result))

    def _send(self, response: ControlResponse) -> None:
        line = encoded(response)
        if len(line) > MOST_RESPONSE:
            line = encoded(ControlResponse(error=["the response is too long"]))
        if self._open and self.transport is not None:
            self.transport.write(line)

    def _end(self, response: ControlResponse) -> None:
        self._send(response)
        if self._open and self.transport is not None:
            # A client that does not read its response must not stay for ever.
            self._in_time()
            self._late = self._reactor.callLater(REQUEST_S, self.abort)
            self.transport.loseConnection()

    def _in_time(self) -> None:
        if self._late is not None and self._late.active():
            self._late.cancel()
        self._late = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self._open = False
        self._in_time()
        self._server.closed(self)
