"""How writers follow the journal: from a saved position, in order, each batch with the chain's head."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from attrs import frozen

from .files import Files, OsFiles
from .linking import hash_of
from .names import PACKED, TOMBSTONE, FileName, of_journal, start_of
from .scan import record_of


@frozen(slots=True)
class Position:
    """How far somebody has come.

    :param journal: "w0", …
    :param number: of the file.
    :param offset: bytes into it, unpacked.
    :param seq: the last record before it.
    """

    journal: str
    number: int = 0
    offset: int = 0
    seq: int = 0


@frozen(slots=True)
class Batch:
    """Records that follow one another.

    :param lines: as they stand in the file, without their ends. A line's SHA-256 names its record for ever: it comes
        again in another batch if the position was not saved.
    :param head: the chain's after the last of them; whoever notes it elsewhere can find a cut tail.
    :param position: to save, once they are carried on.
    :param trail: which trail: two machines both have a journal w0.
    """

    lines: tuple[bytes, ...]
    head: str
    position: Position
    trail: str = ""

    @property
    def first_seq(self) -> int:
        """Of the first record; those of the others follow."""
        return self.position.seq - len(self.lines) + 1


@frozen(slots=True)
class ClosedFile:
    """A file that nothing is appended to any more.

    :param path: where it is now; packed if its name ends in ``.gz``.
    :param stem: its name as records call it.
    :param head: of the chain after its last record that counts.
    :param position: to save, once it is carried on.
    :param trail: as of a batch.
    """

    path: Path
    stem: str
    head: str
    position: Position
    trail: str = ""


class MissedError(Exception):
    """Records after the position are not there any more."""


class Follower:
    """Reads on from a position. Blocks: a writer calls it in a thread of its own.

    :param max_records: of one batch.
    :param max_bytes: of one batch; a single record may be longer.
    """

    def __init__(
        self, directory: Path, files: Files | None = None, *, max_records: int = 500, max_bytes: int = 1 << 20
    ) -> None:
        self._directory = directory
        self._files: Files = files if files is not None else OsFiles()
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._kept: tuple[str, int, BinaryIO] | None = None

    def read(self, since: Position, until: Position) -> Batch | None:
        """What comes next; None when there is nothing yet.

        :param until: ``Keeper.committed``: beyond it stands what no sync has returned for, and a crash may take back.
        :raise MissedError: the file is gone.
        :raise OSError: it cannot be read.
        """
        at = since
        while (at.number, at.offset) < (until.number, until.offset):
            name = self._file(at.number, at.journal)
            if name is None:
                if at.number:
                    raise MissedError(f"file {at.number} of journal {at.journal} is not there")
                at = Position(at.journal, 1, 0, at.seq)
                continue
            batch = self._read(name, at, until.offset if at.number == until.number else None)
            if batch is not None:
                return batch
            at = Position(at.journal, at.number + 1, 0, at.seq)
        return None

    def _file(self, number: int, journal: str) -> FileName | None:
        # Looked for with every batch, in a folder of tens of thousands: only its own names are taken apart.
        start = start_of(journal, number)
        names = of_journal(
            (name for name in self._files.names(self._directory) if name.startswith(start)), journal
        )
        return next((name for name in names if name.form != TOMBSTONE), None)

    def _read(self, name: FileName, since: Position, end: int | None) -> Batch | None:
        """From one file; None at the end of what counts in it."""
        lines: list[bytes] = []
        at = since.offset
        limit = end if end is not None else self._good_bytes(name)
        if at >= limit:
            return None
        file = self._opened(name, at)
        try:
            while at < limit and len(lines) < self._max_records and at - since.offset < self._max_bytes:
                line = file.readline()
                if not line.endswith(b"\n"):
                    raise MissedError(f"{name.name} is shorter than it was")
                lines.append(line[:-1])
                at += len(line)
            if name.form == PACKED and at < limit:
                self._kept = (name.name, at, file)
        finally:
            if self._kept is None:
                file.close()
        position = Position(since.journal, name.number, at, since.seq + len(lines))
        return Batch(tuple(lines), hash_of(lines[-1]).decode(), position)

    def _opened(self, name: FileName, offset: int) -> BinaryIO:
        """At an offset. A packed file is kept open from batch to batch: it can only be unpacked from its beginning."""
        kept, self._kept = self._kept, None
        if kept is not None:
            if kept[:2] == (name.name, offset):
                return kept[2]
            kept[2].close()
        file = self._files.read(self._directory, name.name)
        file.seek(offset)
        return file

    def _good_bytes(self, name: FileName) -> int:
        """What counts in a file that is over, as the next one says."""

        after = self._file(name.number + 1, name.journal)
        if after is None:
            raise MissedError(f"no file follows {name.stem}")
        with self._files.read(self._directory, after.name) as file:
            begin = record_of(file.readline().rstrip(b"\n"))
        return int((begin.get("continues") or {}).get("bytes", 0))
