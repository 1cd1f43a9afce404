"""Processor time and memory of whole process trees, read from /proc."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import frozen

_TICKS = os.sysconf("SC_CLK_TCK")


@frozen
class Process:
    """One line of ``/proc/PID/stat``, as far as it counts here.

    :param ticks: used by the process itself, all its threads included.
    :param reaped: ticks of children that have ended and were waited for. A parent that ignores SIGCHLD loses them.
    """

    pid: int
    parent: int
    session: int
    ticks: int
    reaped: int


def parse_stat(line: str) -> Process:
    """Read one line of ``/proc/PID/stat``; the command's name may hold spaces and brackets.

    :raise ValueError: it is no such line.
    """
    head, closed, rest = line.rpartition(")")
    fields = rest.split()
    if not closed or len(fields) < 15:
        raise ValueError(f"not a line of /proc/PID/stat: {line[:80]!r}")
    return Process(
        pid=int(head.partition("(")[0]),
        parent=int(fields[1]),
        session=int(fields[3]),
        ticks=int(fields[11]) + int(fields[12]),
        reaped=int(fields[13]) + int(fields[14]),
    )


def tree(processes: Iterable[Process], roots: Sequence[int]) -> list[Process]:
    """Processes that belong to one of the roots, each once.

    These are the roots, their descendants, and every process in a root's session: a daemon whose parent has ended
    belongs to process 1 but stays in its session.
    """
    known = {each.pid: each for each in processes}
    below: dict[int, list[int]] = {}
    for each in known.values():
        below.setdefault(each.parent, []).append(each.pid)
    waiting = [pid for pid, each in known.items() if pid in roots or each.session in roots]
    found: dict[int, Process] = {}
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found[pid] = known[pid]
            waiting += below.get(pid, [])
    return [found[pid] for pid in sorted(found)]


def ticks(processes: Iterable[Process], roots: Sequence[int]) -> int:
    """Ticks that trees have used so far, with those of descendants that have ended."""
    return sum(each.ticks + each.reaped for each in tree(processes, roots))


def pss_bytes(rollup: str) -> int:
    """Proportional memory in the text of ``/proc/PID/smaps_rollup``: pages that processes share are divided."""
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def all_processes() -> list[Process]:
    """Every process of this machine; one that ends meanwhile is left out."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError):
                found.append(parse_stat(Path(entry.path, "stat").read_text()))
    return found


def processor_s(roots: Sequence[int]) -> float:
    """Processor seconds that trees have used so far."""
    return ticks(all_processes(), roots) / _TICKS


def memory_bytes(roots: Sequence[int]) -> int:
    """Proportional memory of trees, in bytes."""
    total = 0
    for each in tree(all_processes(), roots):
        with contextlib.suppress(OSError):
            total += pss_bytes(Path(f"/proc/{each.pid}/smaps_rollup").read_text())
    return total


def wants_to_run(line: str) -> bool:
    """Whether a thread runs, waits for a core or waits for a disk, by a line of ``/proc/PID/task/TID/stat``."""
    return line.rpartition(")")[2].split()[:1] in (["R"], ["D"])


def busy(roots: Sequence[int]) -> bool:
    """Whether any thread of the trees has work, even if it gets no core: helper processes may have a low priority."""
    for each in tree(all_processes(), roots):
        with contextlib.suppress(OSError):
            for task in os.scandir(f"/proc/{each.pid}/task"):
                with contextlib.suppress(OSError):
                    if wants_to_run(Path(task.path, "stat").read_text()):
                        return True
    return False
