"""What a process knows of its place among the workers of its machine."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

from attrs import frozen

from ..record.admin_events import Operator
from ..record.trail.ends import JournalEnds
from ..watch.merge import Overview, Snapshot
from ..watch.reload_page import ReloadOutcome

Gather = Callable[[Snapshot], Awaitable[Overview]]
"""Takes one worker's snapshot and returns the snapshots of all workers."""


@frozen(slots=True)
class Seat:
    """One worker's slot and what it inherited.

    :param slot: 0 … workers - 1; the successor of a worker that exited gets the same slot.
    :param sockets: listening sockets for clients, in the order of the listeners; None: the process opens its own.
        None in it: this one is not inherited.
    :param admin: the same for the admin listener; empty if another worker has it.
    :param gather: collects the snapshots of all workers; only slot 0 of several workers has it.
    :param reload: applies the options file to all workers; only slot 0 of several workers has it.
    :param announces: the process logs where it serves, though its sockets were given: systemd has opened them.
    :param ends: where the workers note how far their journals are on disk; None: the process makes its own.
    """

    slot: int = 0
    sockets: tuple[socket.socket | None, ...] | None = None
    admin: tuple[socket.socket | None, ...] | None = None
    gather: Gather | None = None
    ends: JournalEnds | None = None
    reload: Callable[[Operator], Awaitable[ReloadOutcome]] | None = None
    announces: bool = False


ONLY = Seat()
"""The seat of a process without other workers."""
