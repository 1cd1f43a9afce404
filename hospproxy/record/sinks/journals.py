"""Which journals a sink reads and from where: those that are being written, and those that ended processes left.

All of this blocks.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Collection
from pathlib import Path

from attrs import define, frozen
from twisted.logger import Logger

from ..trail.files import OsFiles, TrailFiles, locked
from ..trail.follower import Cursor, MissedError
from ..trail.identity import trail_id
from ..trail.names import TOMBSTONE, parse
from .feeds import Feed, JournalEnd, Parcel, begin, left_behind
from .positions import CursorFiles, DamagedError


@define(slots=True, eq=False)
class JournalCursor:
    """A journal that a carrier is delivering.

    :param position: how far it has come.
    :param end: the end of a journal that was left; None while a process writes to it.
    :param lock: descriptor of the lock that keeps other processes from delivering it too.
    """

    position: Cursor
    end: JournalEnd | None
    lock: int


@frozen(slots=True)
class MissedRecords:
    """Records that no longer exist.

    :param at: where delivery continues.
    """

    words: str
    at: Cursor


class Journals:
    """Finds, locks and reads the journals for one sink.

    :param directory: of the records.
    :param writer: the sink's name.
    :param entropy: returns that many random bytes.
    :param from_now: without a saved position the sink begins with the file that is being written, and not with the
        oldest one, unless the whole trail is new.
    """

    _log = Logger()

    def __init__(
        self,
        directory: Path,
        writer: str,
        feed: Feed,
        files: TrailFiles | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        *,
        from_now: bool = False,
    ) -> None:
        self._directory = directory
        self._writer = writer
        self._feed = feed
        self._files: TrailFiles = files if files is not None else OsFiles()
        self._positions = CursorFiles(directory)
        self._trail = ""
        self._entropy = entropy
        self._from_now = from_now
        self._finished: dict[str, int] = {}
        self._told: set[str] = set()

    def take(self, end: Cursor) -> JournalCursor | None:
        """Lock a journal that is being written; None while another process delivers it to this sink.

        :param end: where it is being written.
        :raise OSError: it cannot be read.
        """
        return self._taken(end.journal, end, None)

    def take_left(self, carried: Collection[str]) -> list[JournalCursor]:
        """Lock the journals that no process writes to and none delivers to this sink.

        :param carried: journals that this carrier already has, or that are known to be written.
        """
        newest: dict[str, int] = {}
        for name in self._files.names(self._directory):
            file = parse(name)
            if file is not None and file.form != TOMBSTONE and file.journal not in carried:
                newest[file.journal] = max(file.number, newest.get(file.journal, 0))
        ways = []
        for journal, number in sorted(newest.items()):
            if self._finished.get(journal) == number:
                continue
            try:
                end = self._end(journal, number)
                way = None if end is None else self._taken(journal, end.position, end)
            except (
                OSError,
                zlib.error,
            ) as error:  # another user's file, or a damaged one: continue with the others
                self._cannot(journal, error)
                continue
            if way is not None:
                ways.append(way)
        return ways

    def put_off(self, way: JournalCursor, error: Exception) -> None:
        """Release a left journal that cannot be read; the next search takes it again."""
        self._cannot(way.position.journal, error)
        os.close(way.lock)

    def _cannot(self, journal: str, error: Exception) -> None:
        words = f"{journal}: {error}"
        if words not in self._told and len(self._told) < 100:  # log it once, not every minute
            self._told.add(words)
            self._log.error(
                "Audit sink {writer} cannot read a journal of an ended process; it tries again every minute: {why}",
                writer=self._writer,
                why=words,
            )

    def finish(self, way: JournalCursor) -> None:
        """Release a journal that was delivered to its end."""
        self._finished[way.position.journal] = way.end.position.number if way.end is not None else 0
        os.close(way.lock)

    def next(self, since: Cursor, end: JournalEnd) -> Parcel | MissedRecords | None:
        """The parcel after a position, or a ``MissedRecords`` if its records no longer exist.

        :raise OSError: it cannot be read.
        """
        try:
            return self._feed.next(since, end, self._trail)
        except MissedError as error:
            at = begin(self._directory, self._files, since.journal, since.number + 1)
            last = end.position
            if at is None or (at.number, at.offset) > (last.number, last.offset):
                at = Cursor(last.journal, last.number + 1, 0, last.seq) if end.over else last
            return MissedRecords(str(error), at)

    def save(self, position: Cursor) -> None:
        """Save how far the sink has come.

        :raise OSError: the position cannot be written.
        """
        self._positions.save(self._writer, position, self._trail)

    def _end(self, journal: str, number: int) -> JournalEnd | None:
        """The end of a journal, if no process writes to it.

        Holds its lock only for a moment: a starting process may need it.
        """
        if not self._is_free(journal):
            return None
        end = left_behind(self._directory, self._files, journal)
        if end is None or end.position.number != number or not self._is_free(journal):
            return None
        return end

    def _is_free(self, journal: str) -> bool:
        lock = locked(self._directory, journal)
        if lock is not None:
            os.close(lock)
        return lock is not None

    def _taken(self, journal: str, last: Cursor, end: JournalEnd | None) -> JournalCursor | None:
        self._trail = self._trail or trail_id(self._directory, self._entropy)
        lock = self._positions.lock(self._writer, journal)
        if lock is None:
            return None
        try:
            position = self._saved(journal, last) or self._beginning(journal, last, end) or last
        except Exception:
            os.close(lock)
            raise
        return JournalCursor(position, end, lock)

    def _beginning(self, journal: str, last: Cursor, end: JournalEnd | None) -> Cursor | None:
        if not self._from_now or not self._positions.any():
            return begin(self._directory, self._files, journal)
        return begin(self._directory, self._files, journal, last.number) if end is None else None

    def _saved(self, journal: str, last: Cursor) -> Cursor | None:
        try:
            position = self._positions.load(self._writer, journal, self._trail)
        except DamagedError as error:
            self._begins_again(str(error))
            return None
        if position is not None and position.seq > last.seq:
            self._begins_again(
                f"its saved position, record {position.seq}, is beyond the end of journal {journal}, record {last.seq}"
            )
            return None
        return position

    def _begins_again(self, why: str) -> None:
        self._log.critical(
            "Audit sink {writer} starts again with the oldest record, and sends records twice: {why}",
            writer=self._writer,
            why=why,
        )
