"""Searches the journal's files directly, newest first, file by file. Blocks, and only reads."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from heapq import merge
from pathlib import Path
from typing import Any, BinaryIO, Final

from attrs import define, field

from ..trail.files import OsFiles, TrailFiles
from ..trail.names import PACKED, TOMBSTONE, FileName, of_journal, parse
from ..trail.scan import MAX_LINE, record_of
from .filters import Filters
from .match import matches, milliseconds, time_of
from .rows import IndexRow, RowKey, RowName

_MOST_SETS: Final = 10_000
_MOST_MEMBERS: Final = 200
"""Limits on remembered disclosure sets: their number, and the members of one; larger sets are not remembered."""
_CLOCK_MS: Final = 86_400_000
"""How far, in milliseconds, a clock may have been set back without a search missing records."""

_UNREADABLE = (OSError, EOFError, zlib.error)


@define(slots=True)
class _Found:
    """The matching lines of one file.

    :param lines: (time in milliseconds, seq, line, by list), unordered.
    :param begun: when the file was begun, in milliseconds. Older records in it belong to requests that arrived
        earlier.
    :param limit: valid bytes of the previous file, as this file states them; None if it does not.
    """

    lines: list[tuple[int, int, bytes, bool]] = field(factory=list)
    begun: int | None = None
    limit: int | None = None


class FolderReader:
    """Searches all journals of a folder, those of every process that wrote there.

    Memory holds the matching lines of one file per journal.

    :param directory: the trail's folder.
    :param trouble: called with a message about each file that cannot be read; the search goes on with the
        others.
    """

    def __init__(
        self,
        directory: Path,
        trouble: Callable[[str], None],
        files: TrailFiles | None = None,
        trail: str = "",
    ) -> None:
        self._directory = directory
        self._trouble = trouble
        self._files: TrailFiles = files if files is not None else OsFiles()
        self._trail = trail
        self._sets: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def members(self, disclosed: str) -> tuple[str, ...] | None:
        """The patients of a set in the last row's file; None if there are too many, or the set is unknown."""
        return self._sets.get(disclosed)

    def rows(self, filters: Filters) -> Iterator[IndexRow]:
        """All matching rows, newest first.

        :raise OSError: the folder does not exist.
        """
        names = self._files.names(self._directory)
        journals = sorted({name.journal for each in names if (name := parse(each)) is not None})
        each = [self._journal(of_journal(names, journal), filters) for journal in journals]
        yield from merge(*each, key=lambda row: row.key, reverse=True)

    def _journal(self, names: list[FileName], filters: Filters) -> Iterator[IndexRow]:
        """The matching rows of one journal, newest first.

        A file may hold records whose requests arrived before the file was begun (for a finding, long before).
        Such records wait for the file that covers their time, so that rows come in order of time.
        """
        carried: list[tuple[int, int, bytes, bool]] = []
        limits: dict[int, int | None] = {}
        enough = None if filters.since is None else milliseconds(filters.since) - _CLOCK_MS
        for name in _once_each(names):
            found = self._file(name, filters, limits.pop(name.number, None))
            limits = {name.number - 1: found.limit}
            lines = sorted((*found.lines, *carried), reverse=True)
            begun = found.begun
            now = [line for line in lines if begun is not None and line[0] >= begun]
            carried = lines[len(now) :]
            yield from (self._row(name.journal, *line) for line in now)
            if enough is not None and begun is not None and begun < enough:
                break  # earlier files hold only records that are older still
        yield from (self._row(names[0].journal, *line) for line in carried)

    def _row(self, journal: str, time_ms: int, seq: int, line: bytes, by_list: bool) -> IndexRow:
        return IndexRow(RowKey(time_ms, RowName(self._trail, journal, seq)), record_of(line), line, by_list)

    def _file(self, name: FileName, filters: Filters, limit: int | None) -> _Found:
        found = _Found()
        try:
            with self._open(name) as file:
                self._read(file, filters, limit, found)
        except _UNREADABLE as error:
            self._trouble(f"{name.name}: {getattr(error, 'strerror', None) or error}")
        return found

    def _open(self, name: FileName) -> BinaryIO:
        """Open a file; if it was compressed in the meantime, open it under its new name."""
        try:
            return self._files.read(self._directory, name.name)
        except FileNotFoundError:
            return self._files.read(self._directory, name.stem + PACKED)

    def _read(self, file: BinaryIO, filters: Filters, limit: int | None, found: _Found) -> None:
        """Read the complete lines, up to the valid size that the next file states."""
        holding: dict[str, tuple[str, ...]] = {}
        at = 0
        while line := file.readline(MAX_LINE):
            at += len(line)
            if (limit is not None and at > limit) or not line.endswith(b"\n"):
                break
            line = line[:-1]
            record = record_of(line)
            kind = record.get("kind")
            if kind == "begin" and found.begun is None:
                found.begun = time_of(record)
                before = record.get("continues")
                found.limit = before.get("bytes") if isinstance(before, dict) else None
            elif kind == "disclosure":
                self._note(record, filters.patient, holding)
            if record and matches(record, filters, holding):
                by_list = filters.patient is not None and str(record.get("patient_id")) != filters.patient
                seq = record.get("seq")
                found.lines.append((time_of(record) or 0, seq if isinstance(seq, int) else 0, line, by_list))

    def _note(self, record: dict[str, Any], wanted: str | None, holding: dict[str, tuple[str, ...]]) -> None:
        """Remember a short disclosure set, and whether a set holds the wanted patient.

        A long set comes in several parts.
        """
        name, patients = record.get("set"), record.get("patients")
        if not isinstance(name, str) or not isinstance(patients, list):
            return
        ids = tuple(map(str, patients))
        if wanted in ids:
            holding[name] = (wanted,)
        if record.get("parts", 1) != 1 or len(ids) > _MOST_MEMBERS:
            return
        self._sets[name] = ids
        while len(self._sets) > _MOST_SETS:
            self._sets.popitem(last=False)


def _once_each(names: list[FileName]) -> Iterator[FileName]:
    """Newest first. A file that is being compressed exists twice and is read once."""
    seen: set[str] = set()
    for name in reversed(names):
        if name.form != TOMBSTONE and name.stem not in seen:
            seen.add(name.stem)
            yield name
