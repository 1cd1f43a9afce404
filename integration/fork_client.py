"""Start processes through the fork server, from a test that runs on Twisted's reactor."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from attrs import define, field
from twisted.internet import error
from twisted.internet.interfaces import IProcessProtocol, IReadDescriptor
from twisted.internet.process import ProcessReader
from twisted.python.failure import Failure
from zope.interface import implementer

from .fork_server import MOST_BYTES

_PROGRAM = Path(__file__).with_name("fork_server.py")
_REPLY_S = 60.0
"""The first reply comes when the server has imported everything."""


@define(eq=False)
class Forked:
    """A forked process: the part of Twisted's process transport that tests use. It calls its protocol as that does.

    :param pid: its process id; None once it has ended.
    """

    protocol: Any
    pid: int | None
    _descriptor: int
    _open: int = 0
    _status: int | None = None

    def read(self, outputs: Mapping[int, int]) -> None:
        """Pass on what it writes.

        :param outputs: its descriptor → ours, from which to read.
        """
        self._open = len(outputs)
        for number, descriptor in outputs.items():
            ProcessReader(_reactor(), self, number, descriptor)

    def signalProcess(self, signalID: str | int) -> None:
        """Send it a signal, by its number or by its name without "SIG".

        :raise ProcessExitedAlready: it has ended.
        """
        if self.pid is None:
            raise error.ProcessExitedAlready
        number = signal.Signals[f"SIG{signalID}"] if isinstance(signalID, str) else signalID
        try:
            signal.pidfd_send_signal(self._descriptor, number)
        except ProcessLookupError:
            raise error.ProcessExitedAlready from None

    def childDataReceived(self, name: int, data: bytes) -> None:
        """It has written something (for ProcessReader)."""
        self.protocol.childDataReceived(name, data)

    def childConnectionLost(self, name: int, reason: Failure) -> None:
        """No process holds this descriptor any more (for ProcessReader)."""
        self._open -= 1
        self._told()

    def ended(self, status: int) -> None:
        """It has exited.

        :param status: as ``waitpid`` returns it.
        """
        self.pid, self._status = None, status
        os.close(self._descriptor)
        self._told()

    def _told(self) -> None:
        if self._open or self._status is None:
            return
        code = os.waitstatus_to_exitcode(self._status)
        if code == 0:
            reason: Exception = error.ProcessDone(self._status)
        else:
            exited, killed = (code, None) if code > 0 else (None, -code)
            reason = error.ProcessTerminated(exited, killed, self._status)
        self.protocol.processEnded(Failure(reason))


@implementer(IReadDescriptor)
@define(eq=False)
class ForkServer:
    """The server of this test run, started when it is first needed."""

    _socket: socket.socket | None = None
    _running: dict[int, Forked] = field(factory=dict, init=False)

    def start(
        self,
        protocol: IProcessProtocol,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
    ) -> None:
        """Fork a process that runs twistd.

        :param arguments: of twistd, from its own path on.
        """
        server = self._connected()
        pipes = {number: os.pipe() for number in (1, 2)}
        nothing = os.open(os.devnull, os.O_RDONLY)
        theirs = [nothing, *(writing for _, writing in pipes.values())]
        start = {"arguments": list(arguments), "environment": dict(environment), "folder": str(folder)}
        socket.send_fds(server, [json.dumps(start).encode()], theirs)
        for descriptor in theirs:
            os.close(descriptor)
        while not (received := self._received(server))[1]:
            # Not at once: what the test does when a process ends must not run inside of this start.
            _reactor().callLater(0, self._ended, received[0])
        told, (descriptor,) = received
        forked = self._running[told["pid"]] = Forked(protocol, told["pid"], descriptor)
        cast(Any, protocol).makeConnection(forked)
        forked.read({number: reading for number, (reading, _) in pipes.items()})

    def doRead(self) -> None:
        """A process has ended (IReadDescriptor)."""
        assert self._socket is not None
        self._ended(self._received(self._socket)[0])

    def fileno(self) -> int:
        """Descriptor of the socket; -1 if there is no server (IReadDescriptor)."""
        return self._socket.fileno() if self._socket is not None else -1

    def logPrefix(self) -> str:
        """Name in Twisted's log (IReadDescriptor)."""
        return "fork server"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has stopped, or the server is gone (IReadDescriptor)."""
        if self._socket is not None:
            _reactor().removeReader(self)
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._socket.settimeout(_REPLY_S)
            command = [sys.executable, str(_PROGRAM), str(theirs.fileno())]
            environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
            with theirs:
                server = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
            atexit.register(self._end, server)
            _reactor().addReader(self)
        return self._socket

    def _end(self, server: subprocess.Popen[bytes]) -> None:
        if self._socket is not None:
            self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(10.0)

    def _received(self, server: socket.socket) -> tuple[dict[str, int], list[int]]:
        packet, descriptors, _, _ = socket.recv_fds(server, MOST_BYTES, 1)
        if not packet:
            self.connectionLost(Failure(error.ConnectionLost()))
            raise RuntimeError("the fork server has ended; what it says stands in the output of the tests")
        return json.loads(packet), descriptors

    def _ended(self, told: Mapping[str, int]) -> None:
        self._running.pop(told["pid"]).ended(told["status"])


SERVER = ForkServer()


def _reactor() -> Any:
    from twisted.internet import reactor

    return reactor
