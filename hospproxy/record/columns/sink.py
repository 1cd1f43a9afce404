"""The sink that has each closed file of the journal added to the index."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from attrs import define, field
from twisted.logger import Logger
from zope.interface import implementer

from ...interfaces import IAuditFileWriter
from ..trail.follower import ClosedFile
from .asker import Asker
from .questions import UPKEEP_S, Question

_OLD = ("audit.sqlite", "audit.sqlite-wal", "audit.sqlite-shm", "audit.sqlite-journal")


@implementer(IAuditFileWriter)
@define(eq=False)
class IndexSink:
    """Adds closed files to the index. What is in the index the index knows itself, not the sink's cursor.

    :param folder: of the index.
    :param asker: has the index.
    """

    _folder: Path
    _asker: Asker
    name: str = "database"
    _remove: Callable[[Path], None] = field(default=Path.unlink, alias="remove")
    _log = Logger()

    async def open(self) -> None:
        """Bring the index up to date; remove the index in SQLite that an older version has left.

        :raise IndexAway: it could not be finished; what is finished counts.
        """
        await self._upkeep()
        left = [self._folder / name for name in _OLD if (self._folder / name).exists()]
        for path in left:
            with suppress(FileNotFoundError):
                self._remove(path)
        if left:
            self._log.info(
                "The audit index in SQLite was replaced by one in columns; {file} is removed",
                file=str(left[0]),
            )

    async def write_file(self, file: ClosedFile) -> None:  # noqa: ARG002  # the index finds it by itself
        """Add a file, and whatever else is due.

        :raise IndexAway: it could not be finished; what is finished counts.
        """
        await self._upkeep()

    async def close(self) -> None:
        await self._asker.close()

    async def _upkeep(self) -> None:
        answer = await self._asker.ask(Question(what="upkeep"), UPKEEP_S)
        if answer.mended:
            self._log.error(
                "{mended} parts of the audit index were damaged; their records were read from the journal again",
                mended=answer.mended,
            )
        for trouble in answer.troubles[:10]:
            self._log.error("Records are missing in the audit index: {trouble}", trouble=trouble)
