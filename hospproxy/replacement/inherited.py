"""What a successor inherits: the lock, the listening sockets, and how it learns that the old proxy is gone."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from attrs import frozen

from ..config import Settings
from ..state.lock import FolderLock
from .hold import has_event
from .messages import Prepare
from .successor_process import FIRST_SOCKET_FD, LIFELINE_FD, LOCK_FD


@frozen(slots=True)
class Inherited:
    """What comes from the old proxy.

    :param clients: a listening socket for each listener of the options; None: it opens its own.
    :param admin: the same for the admin listener; empty if it is switched off.
    :param relays: sockets on which its workers relay; empty if it is a single process, which relays on the channel.
    :param workers: descriptors of the processes of its workers (pidfd).
    :param lifeline: descriptor that every process holds which may open the state folder.
    """

    lock: FolderLock
    clients: tuple[socket.socket | None, ...]
    admin: tuple[socket.socket | None, ...]
    relays: tuple[socket.socket, ...]
    workers: tuple[int, ...]
    lifeline: int = LIFELINE_FD

    @classmethod
    def take(cls, prepare: Prepare, options: Settings) -> Inherited:
        """Take the descriptors that a message tells of, and close those of listeners that are no more."""
        sockets = len(prepare.listeners) + len(prepare.admin) + prepare.workers
        given = [socket.socket(fileno=FIRST_SOCKET_FD + number) for number in range(sockets)]
        for each in given:
            each.set_inheritable(False)
        urls = (*prepare.listeners, *prepare.admin)
        clients = _by_url(prepare.listeners, given[: len(prepare.listeners)])
        admin = _by_url(prepare.admin, given[len(prepare.listeners) : len(urls)])
        first = FIRST_SOCKET_FD + sockets
        inherited = cls(
            FolderLock(LOCK_FD),
            tuple(clients.pop(each.url, None) for each in options.listeners),
            (admin.pop(options.admin.url, None),) if options.admin.enabled else (),
            tuple(given[len(urls) :]),
            tuple(range(first, first + prepare.workers)),
        )
        for left in (*clients.values(), *admin.values()):
            left.close()
        return inherited


def is_gone(process: int) -> bool:
    """Whether a process has ended.

    :param process: its descriptor (pidfd).
    """
    return has_event(process)


def _by_url(urls: Sequence[str], sockets: Sequence[socket.socket]) -> dict[str, socket.socket]:
    return dict(zip(urls, sockets, strict=True))
