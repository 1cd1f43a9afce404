"""Starts the processes of one machine, and others in the place of those that died, as `hospproxy.workers` does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hospproxy.process.child_process import exits_in_a_row, restart_pause_s

FORK_S = 0.2
"""Seconds until a worker that was forked begins to build its service."""


class Supervisor:
    """The slots of one machine, and the process in each.

    :param seconds: the time.
    :param later: runs a function after so many seconds.
    :param start: starts a process in a slot, after so many seconds or, for None, after those of a machine that starts.
    """

    def __init__(
        self,
        slots: int,
        seconds: Callable[[], float],
        later: Callable[[float, Callable[[], None]], None],
        start: Callable[[int, float | None], Any],
    ) -> None:
        self._slots = slots
        self._seconds = seconds
        self._later = later
        self._start = start
        self._processes: dict[int, Any] = {}
        self._began: dict[int, float] = {}
        self._deaths: dict[int, int] = {}
        self._waiting: set[int] = set()
        self._down_until = 0.0

    def look(self) -> None:
        """Start what does not run, unless the machine is down or a worker's restart is due later."""
        for slot in range(self._slots):
            if slot not in self._waiting:
                self._fill(slot, None)

    def stay_down(self, seconds: float) -> None:
        """Start nothing for a while: the whole machine is down, with this supervisor."""
        self._down_until = self._seconds() + seconds
        self._deaths.clear()
        self._waiting.clear()

    def worker(self, slot: int) -> Any:
        """The process in a slot; None if there is none now."""
        process = self._processes.get(slot)
        return process if process is not None and process.running else None

    def kill(self, slot: int, process: Any) -> None:
        """Kill one worker at once (kill -9). Another one follows it in its slot, at once or after a pause."""
        lived_s = self._seconds() - self._began[slot]
        deaths = self._deaths[slot] = exits_in_a_row(self._deaths.get(slot, 0), lived_s)
        process.kill()
        self._waiting.add(slot)
        self._later(restart_pause_s(deaths), lambda: self._start_again(slot))

    def _start_again(self, slot: int) -> None:
        self._waiting.discard(slot)
        self._fill(slot, FORK_S)

    def _fill(self, slot: int, boot_s: float | None) -> None:
        if self.worker(slot) is None and self._seconds() >= self._down_until:
            self._processes[slot] = self._start(slot, boot_s)
            self._began[slot] = self._seconds()
