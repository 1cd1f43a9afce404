"""A process that runs a function of this program: forked, so that it shares the memory of what is imported already.

A new interpreter would import everything again: a second of processor time, and some 40 MiB that no other process
shares.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

from twisted.internet import process as twisted_process
from twisted.internet.interfaces import IProcessProtocol
from twisted.logger import ILogObserver, globalLogPublisher

from .child_process import forget_input
from .shutdown import leave

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_ENV_START: Final = 47
"""Place of ``env_start`` behind the name in ``/proc/PID/stat``; ``env_end`` follows."""
_IGNORED_BY_PYTHON: Final = frozenset((signal.SIGPIPE, signal.SIGXFSZ))
_inherited: list[Any] = []
"""Objects that hold descriptors of the parent. They are closed here, so an object that goes would close another's."""


Fork = Callable[[Any, IProcessProtocol, Callable[[], int], Mapping[int, int | str]], None]
"""The type of ``fork``."""


class CannotFork(Exception):
    """This process has threads: a fork would copy the locks that they hold, and not the threads."""


class _Forked(twisted_process.Process):
    """Twisted's process, with a function in place of the program.

    :param run: what the new process does; it ends when this returns.
    """

    def __init__(self, reactor: Any, protocol: IProcessProtocol, run: Callable[[], int], fds: Any) -> None:
        self._run = run
        super().__init__(reactor, "fork", [], None, None, protocol, childFDs=fds)  # type: ignore[no-untyped-call]

    def _trySpawnInsteadOfFork(self, *_: Any) -> bool:
        return False

    def _execChild(self, *_: Any) -> NoReturn:
        # All descriptors are closed here except those of the child. An exception goes to its stderr.
        _forget_parent(self._reactor)
        leave(self._run())
        raise AssertionError


def fork(
    reactor: Any, protocol: IProcessProtocol, run: Callable[[], int], descriptors: Mapping[int, int | str]
) -> None:
    """Start a process that runs a function of this one. Its reactor is new and not running.

    :param reactor: of this process; it need not run yet.
    :param run: returns the exit status. Nothing of the parent is closed or ended for it; it must not touch its parts.
    :param descriptors: as ``childFDs`` of ``spawnProcess``; 0, 1 and 2 among them.
    :raise CannotFork: this process has threads, or the system does not say how many.
    :raise OSError: the system cannot fork.
    """
    try:
        threads = len(os.listdir("/proc/self/task"))
    except OSError:
        raise CannotFork from None
    if threads != 1:
        raise CannotFork
    # A collection writes to every object that it looks at, and a page that is written to is shared no more.
    gc.freeze()
    _Forked(reactor, protocol, run, dict(descriptors))


def name_process(name: str) -> None:
    """Set the name that ``ps -o comm`` and ``top`` show; the command line stays the parent's.

    :param name: at most 15 characters.
    """
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def end_with_parent(ends: bool) -> None:
    """Let the kernel kill this process when the thread that has started it ends, or let it no more."""
    number = signal.SIGKILL if ends else 0
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number), 0, 0, 0)


def log_only_to(observer: ILogObserver) -> None:
    """Replace the observers of the log: a forked process has its parent's, whose files are closed."""
    _inherited.extend(globalLogPublisher._observers)
    globalLogPublisher._observers = [observer]


def _forget_parent(reactor: Any) -> None:
    """Make this process like a new one, as far as it matters to what runs in it.

    :param reactor: of the parent.
    """
    gc.enable()  # Twisted disables it before a fork, for what runs another program
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    for number in _IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(ValueError):
        signal.set_wakeup_fd(-1)
    twisted_process.reapProcessHandlers.clear()
    _inherited.extend((reactor, sys.stdin, sys.stdout, sys.stderr))
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for the whole process
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    forget_input()
    _erase_removed_variables()
    del sys.modules["twisted.internet.reactor"]
    import_module(type(reactor).__module__).install()


def _erase_removed_variables() -> None:
    """Erase secrets that were taken out of the environment: ``/proc/PID/environ`` shows what the program began with."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[_ENV_START]), int(fields[_ENV_START + 1])
    at = start
    for entry in ctypes.string_at(start, end - start).split(b"\0"):
        # libc and Python have forgotten the removed ones, so nothing points to their text.
        if entry.partition(b"=")[0] not in os.environb:
            ctypes.memset(at, 0, len(entry))
        at += len(entry) + 1
