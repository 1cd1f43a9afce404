"""Tell systemd what this process is doing, as ``sd_notify`` does; nothing where no service manager listens."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

READY = "READY=1"
"""The process serves."""
STOPPING = "STOPPING=1"
"""The process has begun to stop."""


def main_pid(pid: int) -> str:
    """Say that another process is the service now."""
    return f"MAINPID={pid}"


def notify(*lines: str, environment: Mapping[str, str] = os.environ) -> None:
    """Send lines to the service manager. It never fails and never waits: the service does not depend on it.

    :param lines: such as ``READY``.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    if address[0] == "@":
        address = "\0" + address[1:]  # the abstract namespace
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.setblocking(False)
        sender.sendto("\n".join(lines).encode(), address)


@contextmanager
def reloading(
    monotonic: Callable[[], float] = time.monotonic, environment: Mapping[str, str] = os.environ
) -> Iterator[None]:
    """Say that the process reloads, until what is done inside has ended. A failed reload is one that has ended.

    :param monotonic: seconds of the system's monotonic clock, by which the service manager tells reloads apart.
    """
    notify("RELOADING=1", f"MONOTONIC_USEC={int(monotonic() * 1e6)}", environment=environment)
    try:
        yield
    finally:
        notify(READY, environment=environment)
