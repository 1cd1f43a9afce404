"""Reads a folder of journals as an index would: newest first, file by file. Blocks, and reads only."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from heapq import merge
from pathlib import Path
from typing import Any, BinaryIO, Final

from attrs import define, field

from ..trail.files import Files, OsFiles
from ..trail.names import PACKED, TOMBSTONE, FileName, of_journal, parse
from ..trail.scan import MAX_LINE, record_of
from .filters import Filters
from .matching import matches, milliseconds, time_of
from .rows import Key, Row, RowName

_MOST_SETS: Final = 10_000
_MOST_MEMBERS: Final = 200
"""Bounds on the disclosure sets that are kept at hand; longer ones are not."""
_CLOCK_MS: Final = 86_400_000
"""By how much a clock may have been set back and no record be passed over."""

_UNREADABLE = (OSError, EOFError, zlib.error)


@define(slots=True)
class _Found:
    """What fits in one file.

    :param lines: (time in milliseconds, seq, line, by list), in no order.
    :param begun: when it was begun, in milliseconds; its older records arrived before.
    :param limit: bytes of the file before it that count, as this one says; None if it does not.
    """

    lines: list[tuple[int, int, bytes, bool]] = field(factory=list)
    begun: int | None = None
    limit: int | None = None


class FolderReader:
    """All records of a folder, of every process that has written there.

    Memory holds the lines that fit of one file a journal.

    :param directory: the trail's.
    :param trouble: told of a file that cannot be read; the others are.
    """

    def __init__(
        self, directory: Path, trouble: Callable[[str], None], files: Files | None = None, trail: str = ""
    ) -> None:
        self._directory = directory
        self._trouble = trouble
        self._files: Files = files if files is not None else OsFiles()
        self._trail = trail
        self._sets: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def members(self, disclosed: str) -> tuple[str, ...] | None:
        """The patients of a set that a row of the last file named; None if they are too many, or not there."""
        return self._sets.get(disclosed)

    def rows(self, filters: Filters) -> Iterator[Row]:
        """All that fits, newest first.

        :raise OSError: there is no such folder.
        """
        names = self._files.names(self._directory)
        journals = sorted({name.journal for each in names if (name := parse(each)) is not None})
        each = [self._journal(of_journal(names, journal), filters) for journal in journals]
        yield from merge(*each, key=lambda row: row.key, reverse=True)

    def _journal(self, names: list[FileName], filters: Filters) -> Iterator[Row]:
        """Of one journal.

        What a file says may have arrived before it was begun, and a finding long before: such records wait for the
        file in which their time lies, so that the order is that of time throughout.
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
                break  # what the files before hold arrived earlier still
        yield from (self._row(names[0].journal, *line) for line in carried)

    def _row(self, journal: str, time_ms: int, seq: int, line: bytes, by_list: bool) -> Row:
        return Row(Key(time_ms, RowName(self._trail, journal, seq)), record_of(line), line, by_list)

    def _file(self, name: FileName, filters: Filters, limit: int | None) -> _Found:
        found = _Found()
        try:
            with self._open(name) as file:
                self._read(file, filters, limit, found)
        except _UNREADABLE as error:
            self._trouble(f"{name.name}: {getattr(error, 'strerror', None) or error}")
        return found

    def _open(self, name: FileName) -> BinaryIO:
        """A file that is packed while it is looked for has another name."""
        try:
            return self._files.read(self._directory, name.name)
        except FileNotFoundError:
            return self._files.read(self._directory, name.stem + PACKED)

    def _read(self, file: BinaryIO, filters: Filters, limit: int | None, found: _Found) -> None:
        """Lines that are whole, up to where the next file says that they count."""
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
        """A disclosure set: whether it holds who is asked for, and a short one's members (it may come in parts)."""
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
    """Newest first; a file that is being packed is there twice, and is read once."""
    seen: set[str] = set()
    for name in reversed(names):
        if name.form != TOMBSTONE and name.stem not in seen:
            seen.add(name.stem)
            yield name
