"""Where a command reads the trail: a folder of journals, or a database that was filled from one."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from attrs import define

from ..export.texts import visible
from ..reading.filters import Filters
from ..reading.folder import FolderReader
from ..reading.rows import Row


class SourceError(Exception):
    """The trail cannot be read there; in words for the terminal."""


class Source(Protocol):
    """Rows of the trail."""

    folder: Path | None
    """Where journals are, if it is a folder."""

    troubles: int
    """How much could not be read."""

    def rows(self, filters: Filters) -> Iterator[Row]:
        """All that fits, newest first.

        :raise SourceError: it cannot be read.
        """

    def members(self, disclosed: str) -> Sequence[str] | None:
        """The patients of a set, if they are at hand."""


@define
class Folder:
    """The journals themselves: nothing is newer or more certain."""

    folder: Path | None
    troubles: int = 0
    _reader: FolderReader | None = None

    def rows(self, filters: Filters) -> Iterator[Row]:
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
        say(f"cannot be read to its end: {trouble}")


def source_of(text: str, password_file: Path | None) -> Source:
    """The source that somebody names.

    :param text: a folder, a SQLite file, or the URL of a database.
    :param password_file: holds the password of the database, so that nobody need write it into the URL.
    :raise SourceError: it is none of them.
    """
    path = Path(text)
    if "://" not in text and path.is_dir():
        return Folder(path)
    if "://" in text or path.is_file():
        from .indexed import database_of  # SQLAlchemy takes its time

        return database_of(text, password_file)
    raise SourceError(f"{text}: there is no such folder or file")


def say(words: str) -> None:
    """Something that is no part of the output."""
    print(f"hospproxy-audit: {visible(words)}", file=sys.stderr)
