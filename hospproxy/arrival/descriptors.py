"""Limit connections so that enough file descriptors remain for everything else."""

from __future__ import annotations

import resource
from typing import Final

from attrs import evolve
from twisted.logger import Logger

from ..options.arrival_section import ArrivalSettings

_log = Logger()

KEPT_BACK: Final = 256
"""Descriptors reserved for the audit trail, the ledger, upstream connections and audit sinks."""


def open_files() -> int:
    """The soft limit of file descriptors for this process (``ulimit -n``)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def within_descriptors(limits: ArrivalSettings, open_files: int) -> ArrivalSettings:
    """Return the limits with ``max_connections`` lowered to what the file descriptors allow.

    Without this the process reaches the system's limit first. Then it can accept no connections, the reactor reports
    the waiting ones again and again, and neither the upstream nor the audit trail can be opened.

    :param open_files: descriptors that the process may have.
    """
    possible = open_files - min(KEPT_BACK, open_files // 2)
    if limits.max_connections <= possible:
        return limits
    _log.warn(
        "arrival.max_connections = {wanted} does not fit ulimit -n = {open_files}; using {possible}, raise ulimit -n",
        wanted=limits.max_connections,
        open_files=open_files,
        possible=possible,
    )
    return evolve(limits, max_connections=possible)
