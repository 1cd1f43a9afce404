"""Where a process stands among the workers of its machine."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

from attrs import frozen

from ..watch.merging import Overview, Snapshot

Gather = Callable[[Snapshot], Awaitable[Overview]]
"""Takes what one worker says of itself and gives what all say."""


@frozen(slots=True)
class Seat:
    """One worker's place.

    :param slot: 0 … workers - 1; who comes after one that has died gets the same.
    :param sockets: that listen for clients already, in the order of the listeners; None: it opens its own.
    :param admin: the same for the admin listener; None where another worker has it.
    :param gather: asks all workers; None: there are no others.
    """

    slot: int = 0
    sockets: tuple[socket.socket, ...] | None = None
    admin: tuple[socket.socket, ...] | None = None
    gather: Gather | None = None


ONLY = Seat()
"""The seat of a process that is the only one."""
