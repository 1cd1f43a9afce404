"""Reads the lines of the journal that are not in the index yet, directly and by the rule of the files. Blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from attrs import define, field, frozen

from ..search.filters import Filters
from ..search.match import matches, text
from ..search.rows import RowKey, RowName
from ..trail.names import PACKED
from ..trail.scan import record_of
from .entries import Entry, entry_of
from .manifest import IndexManifest
from .trail_files import UNREADABLE, TrailFile, TrailFolder, journal_of

_PACKED_TIMES: Final = 12
"""How much larger a compressed file is when it is not compressed; for an estimate."""
_EVERY: Final = 500
"""Lines between two looks at the clock."""


@frozen(slots=True, order=True)
class RowPlace:
    """Where a row is that may match; orders by time, journal and number.

    :param by_list: it refers to a set that holds the patient.
    """

    time_ms: int
    journal: str
    seq: int
    stem: str = field(order=False)
    place: int = field(order=False)
    by_list: bool = field(default=False, order=False)

    def key(self, trail: str) -> RowKey:
        """The row's position in the order of results."""
        return RowKey(self.time_ms, RowName(trail, self.journal, self.seq))


@frozen(slots=True)
class FileRest:
    """The lines of one file that are not in the index.

    :param place: bytes of the file that are in the index.
    :param size: bytes that are not; an estimate if the file is compressed.
    """

    file: TrailFile
    place: int
    seq: int
    size: int


def parts_of(trail: TrailFolder, manifest: IndexManifest) -> list[FileRest]:
    """What of the trail is not in the index.

    :raise OSError: the trail's folder cannot be read.
    """
    parts = []
    for file in trail.listed():
        covered = manifest.covered.get(file.stem)
        if covered is not None and covered.whole:
            continue
        place, seq = (covered.place, covered.seq) if covered is not None else (0, 0)
        times = _PACKED_TIMES if file.name.form == PACKED else 1
        parts.append(FileRest(file, place, seq, max(0, trail.size(file.name.name) * times - place)))
    return parts


@define(eq=False)
class Tail:
    """The lines that are not in the index.

    :param troubled: called with a message about each file that cannot be read to its end.
    :param check: called now and then; raises an error once the search has taken too long.
    """

    _trail: TrailFolder
    _parts: list[FileRest]
    _floor_ms: int
    _troubled: Callable[[str], None]
    _check: Callable[[], None]

    @property
    def stems(self) -> list[str]:
        """The files that have such lines."""
        return [part.file.stem for part in self._parts]

    def found(self, filters: Filters, holding: Mapping[str, set[str]]) -> Iterator[RowPlace]:
        """Iterate over the lines of the tail that match the filters.

        :param holding: for each file, the sets in its indexed part that hold the patient of the filters.
        """
        wanted = filters.patient
        for part in self._parts:
            stem, journal = part.file.stem, journal_of(part.file.stem)
            sets = dict.fromkeys(holding.get(stem, ()), (wanted or "",))
            for place, seq, line in self._lines(part):
                record = record_of(line)
                if wanted is not None and record.get("kind") == "disclosure":
                    _, members = entry_of(line, stem, seq, place)
                    sets.update({each.listed: (wanted,) for each in members if each.patient == wanted})
                if matches(record, filters, sets):
                    entry, _ = entry_of(line, stem, seq, place)
                    if entry.time_ms >= self._floor_ms:
                        by_list = wanted is not None and text(record.get("patient_id")) != wanted
                        yield RowPlace(entry.time_ms, journal, seq, stem, place, by_list)

    def entries(self) -> Iterator[Entry]:
        """The values of all these lines."""
        for part in self._parts:
            for place, seq, line in self._lines(part):
                yield entry_of(line, part.file.stem, seq, place)[0]

    def members(self, disclosed: str) -> set[str]:
        """The patients of a set, as far as these lines declare it."""
        name = disclosed.encode()
        found: set[str] = set()
        for part in self._parts:
            for place, seq, line in self._lines(part):
                if name in line and b'"disclosure"' in line:
                    _, members = entry_of(line, part.file.stem, seq, place)
                    found |= {each.patient for each in members if each.listed == disclosed}
        return found

    def named(self, journal: str, wanted: int) -> Iterator[RowPlace]:
        """The line of a journal that has this number."""
        for part in self._parts:
            if journal_of(part.file.stem) != journal:
                continue
            for place, seq, line in self._lines(part):
                if seq == wanted:
                    entry, _ = entry_of(line, part.file.stem, seq, place)
                    yield RowPlace(entry.time_ms, journal, seq, part.file.stem, place)
                    return

    def _lines(self, part: FileRest) -> Iterator[tuple[int, int, bytes]]:
        """Lines with their places and numbers, as far as the file can be read."""
        try:
            end = self._trail.valid_bytes(part.file)
            seq = part.seq or self._trail.first_seq(part.file.stem)
            for place, line in self._trail.lines(part.file.stem, part.place, end):
                if seq % _EVERY == 0:
                    self._check()
                yield place, seq, line
                seq += 1
        except FileNotFoundError:
            return  # removed at the end of its retention
        except UNREADABLE as error:
            self._troubled(f"{part.file.name.name}: {getattr(error, 'strerror', None) or error}")
