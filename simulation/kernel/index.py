"""What stands for the process of the audit index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hospproxy.record.columns.questions import Answer, Question, Setup
from hospproxy.record.trail.identity import trail_id

from .interfaces import SimulatedProcess
from .threads import VirtualWorker


class NoIndex:
    """Takes every file, and finds nothing. The sink and its carrier run as they do elsewhere."""

    async def ask(self, question: Question, timeout_s: float | None = None) -> Answer:
        """Answer at once."""
        return Answer()

    async def close(self) -> None:
        """There is nothing to end."""


class ColumnsHere:
    """Fills the real index, in a task of a thread of its process, so that this may die in the middle.

    Only what DuckDB itself writes is not on the simulated disk: a power cut does not tear it.
    """

    def __init__(self, process: SimulatedProcess, setup: Setup) -> None:
        self._setup = setup
        self._worker = VirtualWorker(process, "audit-index")
        self._wall = process.machine.wall.now
        self._upkeep: Any = None

    async def ask(self, question: Question, timeout_s: float | None = None) -> Answer:
        """Bring the index up to date; nobody searches it here.

        :raise IndexFailed: it could not be finished.
        """
        assert question.what == "upkeep", question
        done = await self._worker.run(self._run)
        return Answer(records=done.records, mended=done.mended, troubles=done.troubles)

    def _run(self) -> Any:
        # Imported here: most worlds have no index.
        from hospproxy.record.columns.engine import Engine, IndexFailed
        from hospproxy.record.columns.trail_files import TrailFolder
        from hospproxy.record.columns.upkeep import IndexUpkeep

        if self._upkeep is None:
            folder, directory = Path(self._setup.folder), Path(self._setup.directory)
            engine = Engine(folder, spills=False)
            self._upkeep = IndexUpkeep(
                folder, TrailFolder(directory), lambda: trail_id(directory), engine, self._wall
            )
        try:
            return self._upkeep.run()
        except OSError as error:
            raise IndexFailed(error.strerror or type(error).__name__) from None

    async def close(self) -> None:
        """There is nothing to end."""
