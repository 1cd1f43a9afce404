"""What the proxy takes from the system that it runs on, besides the reactor.

The parts are handed these things and call nothing of the system for them. With another ``Host`` and another reactor
the whole proxy runs in virtual time and from one seed (see simulation/).
"""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from . import clocks, contract_document, signals
from .contract import Contract
from .worker import Worker, WorkerLike

if TYPE_CHECKING:
    from .record.trail.committing import Ring

_COLLECT_AFTER = 10_000
"""Objects that may come to life between two garbage collections of the young."""


def ring(reactor: Any) -> Ring:
    """The kernel's own way to append to a file.

    :raise OSError: this system has none.
    """
    from .record.trail.uring import Uring

    return Uring(reactor)


def settle() -> None:
    """Tell the garbage collector that what the start has made stays."""
    # A full collection goes through all of it, 37 ms in which nobody is answered, and requests that wait for their
    # records make for many collections.
    gc.freeze()
    # Requests that wait for their record hold thousands of objects for some milliseconds. They make no cycles: to
    # look for some each time that 700 more are alive costs a request as much as to describe it.
    gc.set_threshold(_COLLECT_AFTER, 10, 10)


@frozen(slots=True, kw_only=True)
class Host:
    """The system that a process runs on.

    :param wall: seconds since the epoch, for records; it may jump.
    :param since_boot: monotonic seconds on which two processes of one machine agree; see ``clocks.since_boot``.
    :param entropy: gives so many random bytes, which nobody can guess.
    :param random: between 0 and 1, to spread pauses.
    :param pid: the number of the process.
    :param worker: makes what does blocking work, from a reactor and a name.
    :param ring: makes what appends to the record without a thread, from a reactor.
    :param install_signals: lets signals stop the reactor within so many seconds, and reload; see ``signals.install``.
    :param load_contract: reads a contract; see ``contract_document.load``.
    :param settle: called once the service has started.
    """

    wall: Callable[[], float] = clocks.wall
    since_boot: Callable[[], float] = clocks.since_boot
    entropy: Callable[[int], bytes] = os.urandom
    random: Callable[[], float] = random.SystemRandom().random
    pid: Callable[[], int] = os.getpid
    worker: Callable[[Any, str], WorkerLike] = Worker
    ring: Callable[[Any], Ring] = ring
    install_signals: Callable[[Any, Callable[[], None], float], None] = signals.install
    load_contract: Callable[[Path | None], Contract] = contract_document.load
    settle: Callable[[], None] = settle

    def token(self, size: int) -> str:
        """Hexadecimal digits of so many random bytes."""
        return self.entropy(size).hex()


REAL: Final = Host()
"""The system itself."""
