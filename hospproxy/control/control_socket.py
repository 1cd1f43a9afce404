"""The control socket: a Unix socket in the state folder that only the proxy's own user and root may use."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .messages import SOCKET

_log = Logger()
_CREDENTIALS: Final = struct.Struct("3i")
_BACKLOG: Final = 8


def bound(folder: Path) -> socket.socket:
    """Bind the socket of a state folder (0600) and listen; replace a socket that an earlier process has left.

    Only the process that holds the folder's lock may call it.

    :raise OSError: it cannot be bound.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # By the folder's descriptor: the path of a socket may not be longer than 107 bytes.
    inside = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(FileNotFoundError):
            os.unlink(SOCKET, dir_fd=inside)
        # Before the bind: Linux gives the file the mode of the socket, so nobody else can ever connect.
        os.fchmod(made.fileno(), 0o600)
        made.bind(f"/proc/self/fd/{inside}/{SOCKET}")
        made.listen(_BACKLOG)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    finally:
        os.close(inside)
    return made


def connected(folder: Path, timeout_s: float) -> socket.socket:
    """Connect to the socket of a state folder. Blocks.

    :param timeout_s: seconds that each operation on the socket may take.
    :raise OSError: no process listens, or it belongs to another user.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(timeout_s)
        inside = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            made.connect(f"/proc/self/fd/{inside}/{SOCKET}")
        finally:
            os.close(inside)
    except BaseException:
        made.close()
        raise
    return made


def user_of(peer: socket.socket) -> int:
    """Return the user id of the process at the other end, as the kernel noted it when that process connected."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[1])


def may_command(user: int) -> bool:
    """Whether a user may give commands to this process: its own user, or root."""
    return user in (0, os.geteuid())


@implementer(IReadDescriptor)
class ControlSocket:
    """Accepts connections from the proxy's own user and root, and closes all others unread.

    Twisted's own port for Unix sockets would change the file's mode after the bind, and remove the file of a
    successor when it closes.

    :param folder: the state folder; this process holds its lock.
    :param accepted: gets each connected socket; it must close it.
    """

    def __init__(
        self,
        reactor: Any,
        folder: Path,
        accepted: Callable[[socket.socket], None],
        allowed: Callable[[int], bool] = may_command,
    ) -> None:
        self._reactor = reactor
        self._folder = folder
        self._accepted = accepted
        self._allowed = allowed
        self._socket: socket.socket | None = None
        self._file = (0, 0)

    def start(self) -> None:
        """Bind and accept. A folder that cannot hold a socket costs the commands only, so that is logged."""
        try:
            self._socket = bound(self._folder)
            self._file = _named(self._folder)
        except OSError as error:
            _log.error(
                "no control socket in {folder}, so hospproxyctl cannot reach this process: {why}",
                folder=str(self._folder), why=error.strerror or str(error),
            )  # fmt: skip
            self.stop()
            return
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Close the socket, and remove its file unless a successor has replaced it."""
        if self._socket is None:
            return
        self._reactor.removeReader(self)
        self._socket.close()
        self._socket = None
        with suppress(OSError):
            if _named(self._folder) == self._file:
                os.unlink(self._folder / SOCKET)

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self) -> str:
        return "control"

    def doRead(self) -> None:
        if self._socket is None:
            return
        try:
            peer, _ = self._socket.accept()
        except OSError:  # it left again, or there are no descriptors: the next one is tried again
            return
        if self._allowed(user_of(peer)):
            peer.setblocking(False)
            self._accepted(peer)
            return
        _log.warn("control socket: user {user} may give no commands", user=user_of(peer))
        peer.close()

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002
        self.stop()


def _named(folder: Path) -> tuple[int, int]:
    status = os.stat(folder / SOCKET, follow_symlinks=False)
    return status.st_dev, status.st_ino
