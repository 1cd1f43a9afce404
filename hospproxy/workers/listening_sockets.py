"""Open the listening sockets that all workers share. The supervisor binds them and accepts nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from twisted.internet.error import CannotListenError

from ..arrival.listeners import BACKLOG, place_of


def bound(urls: Iterable[str]) -> tuple[socket.socket, ...]:
    """Return one listening socket per URL, or none at all.

    :raise CannotListenError: an address is taken, or does not belong to this machine.
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
        # Several processes accept from it: one that comes too late must get an error, not block.
        made.setblocking(False)
    except OSError as error:
        if made is not None:
            made.close()
        raise CannotListenError(host, port, error) from None
    return made


def close(sockets: Iterable[socket.socket]) -> None:
    """Close the sockets in this process; other processes may go on accepting from them."""
    for each in sockets:
        each.close()
