"""Where a command reads the trail: the trail's folder, or a database filled from it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from attrs import define

from ..export.texts import visible
from ..search.filters import Filters
from ..search.folder import FolderReader
from ..search.rows import IndexRow


class SourceError(Exception):
    """The source cannot be read; the text says why, for the terminal."""


class RowSource(Protocol):
    """Where a command gets rows of the trail from."""

    folder: Path | None
    """The trail's folder; None for a database."""

    troubles: int
    """How many files could not be read to the end."""

    def rows(self, filters: Filters) -> Iterator[IndexRow]:
        """All matching rows, newest first.

        :raise SourceError: the source cannot be read.
        """

    def members(self, disclosed: str) -> Sequence[str] | None:
        """The patients of a set, if they are known."""


@define
class FolderSource:
    """Reads the trail's folder itself, which is always complete and up to date."""

    folder: Path | None
    troubles: int = 0
    _reader: FolderReader | None = None

    def rows(self, filters: Filters) -> Iterator[IndexRow]:
        assert self.folder is not None
        self._reader = FolderReader(self.folder, self._told)
        try:
            yield from self._reader.rows(filters)
        except OSError as error:
            raise SourceError(f"{self.folder}: {error.strerror}") from error

    def members(self, disclosed: str) -> Sequence[str] | None:
        return self._reader.members(disclosed) if self._reader is not None else None

    def _told(self, trouble: str) -> None:
        self.troubles += 1
        say(f"a file could not be read to its end, so records may be missing: {trouble}")


def say(words: str) -> None:
    """Print a message on standard error, apart from the output."""
    print(f"hospproxy-audit: {visible(words)}", file=sys.stderr)
