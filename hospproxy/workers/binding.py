"""The sockets that all workers listen on; their parent opens them and accepts nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from twisted.internet.error import CannotListenError

from ..arrival.listeners import BACKLOG, place_of


def bound(urls: Iterable[str]) -> tuple[socket.socket, ...]:
    """One listening socket for each address, or none at all.

    :raise CannotListenError: an address is taken, or is not this machine's.
    """
    opened: list[socket.socket] = []
    try:
        for url in urls:
            opened.append(_bound(*place_of(url)))
    except BaseException:
        close(opened)
        raise
    return tuple(opened)


def _bound(host: str, port: int) -> socket.socket:
    made: socket.socket | None = None
    try:
        flags = socket.AI_NUMERICHOST | socket.AI_PASSIVE
        [(family, *_, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
        # Several processes accept from it: who comes too late must find nothing, not wait.
        made.setblocking(False)
    except OSError as error:
        if made is not None:
            made.close()
        raise CannotListenError(host, port, error) from None
    return made


def close(sockets: Iterable[socket.socket]) -> None:
    """Listen no more, as far as this process is concerned."""
    for each in sockets:
        each.close()
