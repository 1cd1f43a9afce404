"""What a carrier delivers next: batches of records, or whole files, after a position. All of this blocks."""

from __future__ import annotations

import zlib
from datetime import datetime
from pathlib import Path
from typing import Protocol

from attrs import field, frozen

from ..trail import recovery
from ..trail.files import OsFiles, TrailFiles
from ..trail.follower import Batch, ClosedFile, Cursor, Follower, MissedError
from ..trail.hash_chain import link_of
from ..trail.names import PACKED, TOMBSTONE, FileName, of_journal
from ..trail.scan import record_of


@frozen(slots=True)
class JournalEnd:
    """How far a journal may be read.

    :param position: the end of its records on disk.
    :param over: no process writes to the journal any more, so its last file is complete too.
    """

    position: Cursor
    over: bool = False


@frozen(slots=True)
class Parcel:
    """What a sink gets in one call.

    :param records: number of records in it.
    :param since: time of its first record, in seconds since the epoch; None if the record has no time.
    """

    item: Batch | ClosedFile
    position: Cursor
    records: int
    since: float | None


class Feed(Protocol):
    """A source of parcels, in order."""

    def next(self, since: Cursor, end: JournalEnd, trail: str) -> Parcel | None:
        """The parcel after a position; None if there is none yet.

        :raise MissedError: it no longer exists, or cannot be uncompressed.
        :raise OSError: it cannot be read at present.
        """

    def arrived(self, at: Cursor, end: JournalEnd) -> bool:
        """Whether nothing is left between the position and the end."""


@frozen(slots=True)
class BatchFeed:
    """Gives records as soon as they are on disk, in batches.

    :param directory: of the records.
    """

    directory: Path
    files: TrailFiles = field(factory=OsFiles)
    _follower: Follower = field(init=False)

    @_follower.default
    def _follow(self) -> Follower:
        return Follower(self.directory, self.files)

    def next(self, since: Cursor, end: JournalEnd, trail: str) -> Parcel | None:
        try:
            batch = _twice(self._follower, since, end.position)
        except (EOFError, zlib.error) as error:
            raise MissedError(f"a compressed file of journal {since.journal} is damaged: {error}") from error
        if batch is None:
            return None
        whole = Batch(batch.lines, batch.head, batch.position, trail)
        return Parcel(whole, batch.position, len(batch.lines), time_of(batch.lines[0]))

    def arrived(self, at: Cursor, end: JournalEnd) -> bool:
        return (at.number, at.offset) >= (end.position.number, end.position.offset)


def _twice(follower: Follower, since: Cursor, until: Cursor) -> Batch | None:
    """Read, and retry once: the file may be compressed, and so renamed, between listing and opening."""
    try:
        return follower.read(since, until)
    except FileNotFoundError:
        return follower.read(since, until)


@frozen(slots=True)
class FileFeed:
    """Gives whole files once they are complete; the compressed form if there is one."""

    directory: Path
    files: TrailFiles = field(factory=OsFiles)

    def next(self, since: Cursor, end: JournalEnd, trail: str) -> Parcel | None:
        if self.arrived(since, end):
            return None
        names = of_journal(self.files.names(self.directory), since.journal)
        found = [name for name in names if name.number == since.number and name.form != TOMBSTONE]
        if not found:
            raise MissedError(f"file {since.number} of journal {since.journal} is missing")
        # While both exist the compressed one is complete: it gets its name last.
        name = next((each for each in found if each.form == PACKED), found[0])
        seq, head = self._close(name, names, end)
        position = Cursor(since.journal, since.number + 1, 0, seq)
        closed = ClosedFile(self.directory / name.name, name.stem, head, position, trail)
        return Parcel(closed, position, seq - since.seq, name.begun.timestamp())

    def arrived(self, at: Cursor, end: JournalEnd) -> bool:
        return at.number >= end.position.number + end.over

    def _close(self, name: FileName, names: list[FileName], end: JournalEnd) -> tuple[int, str]:
        """The number of the last valid record in a file, and the chain's head after it."""
        if end.over and name.number == end.position.number:
            last = recovery.newest(self.files, self.directory, name.journal)
            if last is not None and last.name == name.stem:
                return last.head.seq, last.head.hash.decode()
            # A process (such as an auditor's command) has written to the journal since: the next file states
            # this one's end.
            names = of_journal(self.files.names(self.directory), name.journal)
        after = next(
            (each for each in names if each.number == name.number + 1 and each.form != TOMBSTONE), None
        )
        if after is None:
            raise MissedError(f"the file after {name.stem} is missing")
        continues = record_of(_first_line(self.files, self.directory, after)).get("continues") or {}
        return int(continues.get("seq", 0)), str(continues.get("head", ""))


def begin(directory: Path, files: TrailFiles, journal: str, number: int = 1) -> Cursor | None:
    """The position before the first record of the first existing file from ``number`` on, or None."""
    for name in of_journal(files.names(directory), journal):
        if name.number >= number and name.form != TOMBSTONE:
            try:
                link = link_of(_first_line(files, directory, name))
            except (EOFError, zlib.error):
                continue
            return Cursor(journal, name.number, 0, link.seq - 1 if link is not None else 0)
    return None


def left_behind(directory: Path, files: TrailFiles, journal: str) -> JournalEnd | None:
    """The end of a journal that no process writes to; None if it has no file."""
    last = recovery.newest(files, directory, journal)
    if last is None:
        return None
    return JournalEnd(Cursor(journal, last.number, last.bytes, last.head.seq), over=True)


def time_of(line: bytes) -> float | None:
    """A record's time, in seconds since the epoch; None if it has none."""
    try:
        return datetime.fromisoformat(str(record_of(line).get("time"))).timestamp()
    except ValueError:
        return None


def _first_line(files: TrailFiles, directory: Path, name: FileName) -> bytes:
    with files.read(directory, name.name) as file:
        return file.readline().rstrip(b"\n")
