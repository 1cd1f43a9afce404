"""Reads the journal's files for the index: which there are, their lines with places, and single lines. Blocks."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from attrs import define, field, frozen

from ..trail.files import OsFiles, TrailFiles
from ..trail.hash_chain import link_of
from ..trail.names import PACKED, PLAIN, TOMBSTONE, FileName, parse
from ..trail.packed import open_at
from ..trail.scan import MAX_LINE, record_of

UNREADABLE = (OSError, EOFError, zlib.error)
"""What reading a damaged or missing file raises."""

_NEAR = 1 << 18
"""Bytes that are rather read than jumped over."""

_BLOCK = 1 << 16
"""Bytes that are read at one time: a whole member of a compressed file, so that a damaged one costs no other."""


@frozen(slots=True)
class TrailFile:
    """A file of a journal, and the one that follows it.

    :param after: the next file of the journal; None if this is the newest.
    """

    name: FileName
    after: FileName | None

    @property
    def stem(self) -> str:
        """The name by which records refer to it."""
        return self.name.stem


def journal_of(stem: str) -> str:
    """The journal of a file: "w0", …"""
    return stem.split("-", 2)[1]


@frozen(slots=True)
class TrailFolder:
    """The files of all journals of a trail.

    :param directory: of the records.
    """

    directory: Path
    files: TrailFiles = field(factory=OsFiles)

    def listed(self) -> list[TrailFile]:
        """All files that hold records, each once, by journal and number."""
        found: dict[str, dict[int, FileName]] = {}
        for each in self.files.names(self.directory):
            name = parse(each)
            # While a file is being compressed it exists twice; its plain form is complete.
            if name is None or name.form == TOMBSTONE:
                continue
            numbers = found.setdefault(name.journal, {})
            if name.number not in numbers or name.form == PLAIN:
                numbers[name.number] = name
        return [
            TrailFile(numbers[number], numbers.get(number + 1))
            for _, numbers in sorted(found.items())
            for number in sorted(numbers)
        ]

    def size(self, stem: str) -> int:
        """Bytes of a file that is not compressed; 0 if it is, or is gone."""
        try:
            return (self.directory / stem).stat().st_size
        except OSError:
            return 0

    def valid_bytes(self, file: TrailFile) -> int | None:
        """Bytes of a file that count, as the next file's first record states them; None for the newest file.

        :raise OSError, EOFError, zlib.error: the next file cannot be read.
        """
        if file.after is None:
            return None
        with self.opened(file.after.stem, 0) as after:
            continues = record_of(after.readline(MAX_LINE).rstrip(b"\n")).get("continues")
        stated = continues.get("bytes") if isinstance(continues, dict) else None
        return stated if isinstance(stated, int) else None

    def opened(self, stem: str, place: int) -> BinaryIO:
        """Open a file at a place; if it was compressed in the meantime, under its new name.

        :raise OSError, EOFError, zlib.error: it cannot be read up to there.
        """
        try:
            file = (self.directory / stem).open("rb")
        except FileNotFoundError:
            return open_at(self.directory / (stem + PACKED), place)
        file.seek(place)
        return file

    def lines(self, stem: str, place: int, end: int | None) -> Iterator[tuple[int, bytes]]:
        """The complete lines from a place on, each with its place and without its end.

        :param end: bytes of the file that count; None for all.
        :raise OSError, EOFError, zlib.error: the file cannot be read.
        """
        last = end if end is not None else 1 << 62
        with self.opened(stem, place) as file:
            read1: Callable[[int], bytes] = file.read1  # type: ignore[attr-defined] # both kinds of files have it
            rest = b""
            while block := read1(_BLOCK):
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    after = place + len(line) + 1
                    if after > last or len(line) >= MAX_LINE:
                        return
                    yield place, line
                    place = after
                if len(rest) >= MAX_LINE:
                    return

    def first_seq(self, stem: str) -> int:
        """The number of a file's first record; 1 if the record does not say."""
        with self.opened(stem, 0) as file:
            link = link_of(file.readline(MAX_LINE).rstrip(b"\n"))
        return link.seq if link is not None else 1


@define(eq=False)
class LineFetcher:
    """Fetches single lines by place, with as few jumps as possible."""

    _folder: TrailFolder
    troubles: list[str] = field(factory=list)

    def fetch(self, wanted: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], bytes]:
        """The lines at these places (file, place). Lines that cannot be read are left out, with a trouble."""
        found: dict[tuple[str, int], bytes] = {}
        by_file: dict[str, list[int]] = {}
        for stem, place in wanted:
            by_file.setdefault(stem, []).append(place)
        for stem, places in by_file.items():
            try:
                for place, line in self._of_file(stem, sorted(places)):
                    found[stem, place] = line
            except FileNotFoundError:
                continue  # removed at the end of its retention
            except UNREADABLE as error:
                self.troubles.append(f"{stem}: {getattr(error, 'strerror', None) or error}")
        return found

    def _of_file(self, stem: str, places: list[int]) -> Iterator[tuple[int, bytes]]:
        file: BinaryIO | None = None
        at = 0
        try:
            for place in places:
                if file is None or not 0 <= place - at <= _NEAR:
                    if file is not None:
                        file.close()
                    file = self._folder.opened(stem, place)
                elif isinstance(file, gzip.GzipFile):
                    file.read(place - at)
                else:
                    file.seek(place)
                line = file.readline(MAX_LINE)
                at = place + len(line)
                if line.endswith(b"\n"):
                    yield place, line[:-1]
        finally:
            if file is not None:
                with suppress(OSError):
                    file.close()
