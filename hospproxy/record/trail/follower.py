"""How sinks read the journal: from a saved position, in order, in batches that carry the chain's head."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from attrs import frozen

from .files import OsFiles, TrailFiles
from .hash_chain import hash_of
from .names import PACKED, TOMBSTONE, FileName, of_journal, start_of
from .scan import record_of


@frozen(slots=True)
class Cursor:
    """A cursor into a journal: the end of one record, by file, offset and number.

    :param journal: "w0", …
    :param number: of the file.
    :param offset: bytes into the uncompressed file.
    :param seq: number of the last record before the offset.
    """

    journal: str
    number: int = 0
    offset: int = 0
    seq: int = 0


@frozen(slots=True)
class Batch:
    """Consecutive records of one journal.

    :param lines: as in the file, without line ends. A line's SHA-256 identifies its record for good; a sink
        gets the record again, in another batch, if the position was not saved.
    :param head: the chain's head after the last line. Noted elsewhere, it reveals a tail that was cut off.
    :param position: the position to save once the sink has delivered the batch.
    :param trail: id of the trail, since two machines may both have a journal w0.
    """

    lines: tuple[bytes, ...]
    head: str
    position: Cursor
    trail: str = ""

    @property
    def first_seq(self) -> int:
        """Number of the first record; the others follow on."""
        return self.position.seq - len(self.lines) + 1


@frozen(slots=True)
class ClosedFile:
    """A file that is complete: nothing is appended to it any more.

    :param path: where it is now; compressed if its name ends in ``.gz``.
    :param stem: its name in records.
    :param head: the chain's head after its last valid record.
    :param position: the position to save once the sink has delivered the file.
    :param trail: as in ``Batch``.
    """

    path: Path
    stem: str
    head: str
    position: Cursor
    trail: str = ""


class MissedError(Exception):
    """Records after the position no longer exist."""


class Follower:
    """Reads batches from a position on. Blocks: each sink calls it in a thread of its own.

    :param max_records: most records in a batch.
    :param max_bytes: bytes after which a batch ends; a single record may be longer.
    """

    def __init__(
        self,
        directory: Path,
        files: TrailFiles | None = None,
        *,
        max_records: int = 500,
        max_bytes: int = 1 << 20,
    ) -> None:
        self._directory = directory
        self._files: TrailFiles = files if files is not None else OsFiles()
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._kept: tuple[str, int, BinaryIO] | None = None

    def read(self, since: Cursor, until: Cursor) -> Batch | None:
        """The next batch; None if there is none yet.

        :param until: ``TrailKeeper.committed``. Bytes beyond it are not synced yet, and a crash may take them back.
        :raise MissedError: the file no longer exists, or was cut.
        :raise OSError: the file cannot be read.
        """
        at = since
        while (at.number, at.offset) < (until.number, until.offset):
            name = self._file(at.number, at.journal)
            if name is None:
                if at.number:
                    raise MissedError(f"file {at.number} of journal {at.journal} is missing")
                at = Cursor(at.journal, 1, 0, at.seq)
                continue
            batch = self._read(name, at, until.offset if at.number == until.number else None)
            if batch is not None:
                return batch
            at = Cursor(at.journal, at.number + 1, 0, at.seq)
        return None

    def _file(self, number: int, journal: str) -> FileName | None:
        # Runs for each batch, in a folder of tens of thousands of files, so only matching names are parsed.
        start = start_of(journal, number)
        names = of_journal(
            (name for name in self._files.names(self._directory) if name.startswith(start)), journal
        )
        return next((name for name in names if name.form != TOMBSTONE), None)

    def _read(self, name: FileName, since: Cursor, end: int | None) -> Batch | None:
        """A batch from one file; None at the end of its valid bytes."""
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
                    raise MissedError(f"{name.name} was cut: it is shorter than before")
                lines.append(line[:-1])
                at += len(line)
            if name.form == PACKED and at < limit:
                self._kept = (name.name, at, file)
        finally:
            if self._kept is None:
                file.close()
        position = Cursor(since.journal, name.number, at, since.seq + len(lines))
        return Batch(tuple(lines), hash_of(lines[-1]).decode(), position)

    def _opened(self, name: FileName, offset: int) -> BinaryIO:
        """Open a file at an offset, or reuse the file that is still open there.

        A compressed file stays open between batches: it can only be read from its start.
        """
        kept, self._kept = self._kept, None
        if kept is not None:
            if kept[:2] == (name.name, offset):
                return kept[2]
            kept[2].close()
        file = self._files.read(self._directory, name.name)
        file.seek(offset)
        return file

    def _good_bytes(self, name: FileName) -> int:
        """Valid bytes of a closed file, as the next file's first record states them."""

        after = self._file(name.number + 1, name.journal)
        if after is None:
            raise MissedError(f"the file after {name.stem} is missing")
        with self._files.read(self._directory, after.name) as file:
            begin = record_of(file.readline().rstrip(b"\n"))
        return int((begin.get("continues") or {}).get("bytes", 0))
