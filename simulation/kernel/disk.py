"""A machine's disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .process import Process
    from .world import Simulation


class Disk:
    """What a machine keeps."""

    def __init__(self, world: Simulation, name: str, folder: Path) -> None:
        self._random = world.random(f"{name}/disk")
        self._folder = folder

    def begin(self) -> None:
        """A task begins."""

    def end(self) -> float:
        """Seconds that it took."""
        return self._random.uniform(0.0002, 0.002)

    def orphaned(self, process: Process) -> None:
        """A process is dead."""

    def power_cut(self) -> None:
        """Lose what was not synced."""
