"""Open the listening sockets that all workers share. The supervisor binds them and accepts nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence

from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from ..arrival.listeners import BACKLOG, place_of
from ..config import Settings

_log = Logger()


def bound(urls: Iterable[str], given: Sequence[socket.socket | None] = ()) -> tuple[socket.socket, ...]:
    """Return one listening socket per URL, or none at all.

    :param given: sockets that are open already, in the order of the URLs; None: it is to be opened.
    :raise CannotListenError: an address is taken, or does not belong to this machine.
    """
    opened: list[socket.socket] = []
    try:
        for number, url in enumerate(urls):
            taken = given[number] if number < len(given) else None
            opened.append(_bound(*place_of(url)) if taken is None else taken)
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


def announce(settings: Settings, clients: Sequence[socket.socket], admin: Sequence[socket.socket]) -> None:
    """Log where the workers serve.

    :param clients: in the order of the listeners.
    """
    for each, listener in zip(clients, settings.listeners, strict=True):
        scheme = listener.url.partition("://")[0]
        host, port = each.getsockname()[:2]
        _log.info("hospproxy serves {scheme}://{host}:{port}", scheme=scheme, host=host, port=port)
    for each in admin:
        host, port = each.getsockname()[:2]
        scheme = settings.admin.address.scheme
        _log.info("hospproxy admin on {scheme}://{host}:{port}", scheme=scheme, host=host, port=port)
