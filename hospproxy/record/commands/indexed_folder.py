"""Reads the trail's folder through the index beside it, which finds records without reading every file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from attrs import define, field

from ..columns import manifest
from ..columns.build_columns import FOLDER
from ..columns.engine import Engine
from ..columns.index import ColumnIndex
from ..columns.trail_files import TrailFolder
from ..export.fhir import MOST_PATIENTS
from ..search.filters import Filters
from ..search.rows import IndexAway, IndexRow, RowKey
from ..trail.identity import FILE
from .sources import FolderSource, RowSource, SourceError, say

_ROWS: Final = 500
_TIMEOUT_S: Final = 600.0
_ANY_SIZE: Final = 1 << 62


@define
class IndexedFolder:
    """A folder with its index. It only reads: the files of the index belong to the proxy's account."""

    folder: Path | None
    _index: ColumnIndex
    _plain: FolderSource
    troubles: int = 0
    _sets: dict[str, Sequence[str] | None] = field(factory=dict, init=False)
    _falls_back: bool = field(default=False, init=False)

    def rows(self, filters: Filters) -> Iterator[IndexRow]:
        """All matching rows, newest first; from the files themselves if the index cannot be used."""
        after: RowKey | None = None
        while True:
            try:
                page = self._index.page(filters, after, _ROWS)
            except IndexAway as error:
                if after is not None:
                    raise SourceError(f"the index: {error}") from None
                say(f"the index cannot be used ({error}); every file is read instead")
                self._falls_back = True
                yield from self._plain.rows(filters)
                self.troubles += self._plain.troubles
                return
            yield from page.rows
            after = page.more_after
            if after is None:
                for trouble in dict.fromkeys(self._index.troubles):
                    self.troubles += 1
                    say(f"a file could not be read to its end, so records may be missing: {trouble}")
                return

    def members(self, disclosed: str) -> Sequence[str] | None:
        """The patients of a set; None if there are more than an export names one by one."""
        if self._falls_back:
            return self._plain.members(disclosed)
        if disclosed not in self._sets:
            self._sets.pop(next(iter(self._sets))) if len(self._sets) > 1000 else None
            try:
                self._sets[disclosed] = self._index.members(disclosed, MOST_PATIENTS)
            except IndexAway as error:
                raise SourceError(f"the index: {error}") from None
        return self._sets[disclosed]


def folder_source(path: Path, index: Path | None) -> RowSource:
    """The trail's folder as a source; through its index if there is one.

    :param index: its folder; None for the one beside the trail's folder.
    """
    folder = index if index is not None else path.absolute().parent / FOLDER
    plain = FolderSource(path)
    try:
        trail_id = (path / FILE).read_text("ascii").strip()
        found = manifest.load(folder, trail_id)
    except (OSError, UnicodeDecodeError):
        found = None
    if found is None:
        if index is not None:
            raise SourceError(f"--index: {index} holds no index of this trail")
        return plain
    engine = Engine(folder, spills=False)
    made = ColumnIndex(folder, TrailFolder(path), lambda: trail_id, engine, _TIMEOUT_S, most_behind=_ANY_SIZE)
    return IndexedFolder(path, made, plain)
