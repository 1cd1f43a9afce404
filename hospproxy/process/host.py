"""Everything that the proxy takes from the operating system, besides the reactor.

The parts get these functions as arguments and call nothing of the system directly. With another ``Host`` and another
reactor the whole proxy runs in virtual time from one seed (see simulation/).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from ..contract import document as contract_document
from ..contract.contract import Contract
from . import clocks, collector, forked_process, signals
from .worker import TaskRunner, TaskThread

if TYPE_CHECKING:
    from ..record.columns.asker import Asker
    from ..record.columns.questions import Setup
    from ..record.trail.uring import WriteRing


def ring(reactor: Any) -> WriteRing:
    """Return an io_uring for appending to files without a thread.

    :raise OSError: this system has none.
    """
    from ..record.trail.uring import Uring

    return Uring(reactor)


def index(reactor: Any, setup: Setup) -> Asker:
    """Return what answers questions about the audit index: a process that starts with the first question."""
    from ..record.columns.asker import ProcessAsker

    return ProcessAsker(reactor, setup)


_AT_ONCE: Final = 64
"""Tokens for which random bytes are drawn at one time."""


@frozen(slots=True, kw_only=True)
class Host:
    """The system that a process runs on.

    :param wall: seconds since the epoch, for records; may jump.
    :param since_boot: monotonic seconds on which the processes of a machine agree; see ``clocks.since_boot``.
    :param entropy: returns this many random bytes, not guessable.
    :param random: a number between 0 and 1, to spread pauses.
    :param pid: the process id.
    :param worker: makes a thread for blocking work, from a reactor and a name.
    :param ring: makes what appends audit records without a thread, from a reactor.
    :param index: makes what answers questions about the audit index, from a reactor and which index.
    :param install_signals: lets signals stop the reactor within so many seconds, and reload; see ``signals.install``.
    :param load_contract: reads a contract; see ``contract_document.load``.
    :param settle: called once the service has started.
    :param fork: starts a process that runs a function of this one; see ``forked_process.fork``.
    :param has_courier: what follows the audit journal gets a process of its own; False: the serving process does it.
    """

    wall: Callable[[], float] = clocks.wall
    since_boot: Callable[[], float] = clocks.since_boot
    entropy: Callable[[int], bytes] = os.urandom
    random: Callable[[], float] = random.SystemRandom().random
    pid: Callable[[], int] = os.getpid
    worker: Callable[[Any, str], TaskRunner] = TaskThread
    ring: Callable[[Any], WriteRing] = ring
    index: Callable[[Any, Setup], Asker] = index
    install_signals: Callable[[Any, Callable[[], None], float], None] = signals.install
    load_contract: Callable[[Path | None], Contract] = contract_document.load
    settle: Callable[[], None] = collector.end_start
    fork: forked_process.Fork = forked_process.fork
    has_courier: bool = True

    def token(self, size: int) -> str:
        """Return ``size`` random bytes in hexadecimal."""
        return self.entropy(size).hex()

    def tokens(self, size: int) -> Callable[[], str]:
        """Return what makes such tokens. It asks the system for the random bytes of many at one time."""
        ready: list[str] = []

        def token() -> str:
            if not ready:
                drawn = self.entropy(size * _AT_ONCE).hex()
                ready.extend(drawn[at : at + 2 * size] for at in range(0, len(drawn), 2 * size))
            return ready.pop()

        return token


REAL: Final = Host()
"""The real system."""
