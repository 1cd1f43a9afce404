"""So many connections that file descriptors are left for everything else."""

from __future__ import annotations

import resource
from typing import Final

from attrs import evolve
from twisted.logger import Logger

from .limits import ArrivalLimits

_log = Logger()

KEPT_BACK: Final = 256
"""Descriptors for the record, the ledger, connections to HOSP and to where the record is carried."""


def open_files() -> int:
    """How many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def within_descriptors(limits: ArrivalLimits, open_files: int) -> ArrivalLimits:
    """The same limits with no more connections than the system allows for.

    Without this the process comes to the system's limit first: then connections cannot be accepted, the reactor is
    told of them again and again, and neither HOSP nor the record can be reached.

    :param open_files: descriptors that the process may have.
    """
    possible = open_files - min(KEPT_BACK, open_files // 2)
    if limits.max_connections <= possible:
        return limits
    _log.warn(
        "arrival.max_connections = {wanted} is more than ulimit -n ({open_files}) allows for; it is {possible} here",
        wanted=limits.max_connections,
        open_files=open_files,
        possible=possible,
    )
    return evolve(limits, max_connections=possible)
