"""Which journals a writer carries on, and from where: its process's own, and those that ended processes have left.

Everything here blocks.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Collection
from pathlib import Path

from attrs import define, frozen
from twisted.logger import Logger

from ..trail.files import Files, OsFiles, locked
from ..trail.following import MissedError, Position
from ..trail.identity import trail_id
from ..trail.names import TOMBSTONE, parse
from .feeds import End, Feed, Parcel, begin, left_behind
from .positions import DamagedError, Positions


@define(slots=True, eq=False)
class Way:
    """A journal that is being carried on.

    :param position: how far.
    :param end: of a journal that was left; None while it is written to.
    :param lock: keeps other processes off it.
    """

    position: Position
    end: End | None
    lock: int


@frozen(slots=True)
class Missed:
    """Records that are not there any more.

    :param at: where it goes on.
    """

    words: str
    at: Position


class Journals:
    """For one writer.

    :param directory: of the records.
    :param writer: its name.
    :param entropy: gives so many random bytes.
    """

    _log = Logger()

    def __init__(
        self,
        directory: Path,
        writer: str,
        feed: Feed,
        files: Files | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._directory = directory
        self._writer = writer
        self._feed = feed
        self._files: Files = files if files is not None else OsFiles()
        self._positions = Positions(directory)
        self._trail = ""
        self._entropy = entropy
        self._finished: dict[str, int] = {}
        self._told: set[str] = set()

    def take(self, end: Position) -> Way | None:
        """This process's own journal; None while another process carries it on.

        :param end: where it is written now.
        :raise OSError: it cannot be read.
        """
        return self._taken(end.journal, end, None)

    def take_left(self, own: str, carried: Collection[str]) -> list[Way]:
        """Journals that nobody writes to, and nobody else carries on for this writer.

        :param own: this process's journal.
        :param carried: those that were taken before.
        """
        newest: dict[str, int] = {}
        for name in self._files.names(self._directory):
            file = parse(name)
            if file is not None and file.form != TOMBSTONE and file.journal != own:
                newest[file.journal] = max(file.number, newest.get(file.journal, 0))
        ways = []
        for journal, number in sorted(newest.items()):
            if journal in carried or self._finished.get(journal) == number:
                continue
            try:
                end = self._end(journal, number)
                way = None if end is None else self._taken(journal, end.position, end)
            except (
                OSError,
                zlib.error,
            ) as error:  # such as another's file, or a damaged one: the others go on
                self._cannot(journal, error)
                continue
            if way is not None:
                ways.append(way)
        return ways

    def put_off(self, way: Way, error: Exception) -> None:
        """Let go of a journal that was left and cannot be read; the next look takes it again."""
        self._cannot(way.position.journal, error)
        os.close(way.lock)

    def _cannot(self, journal: str, error: Exception) -> None:
        words = f"{journal}: {error}"
        if words not in self._told and len(self._told) < 100:  # once, not every minute
            self._told.add(words)
            self._log.error(
                "Audit writer {writer} cannot carry on a journal that was left: {why}",
                writer=self._writer,
                why=words,
            )

    def finish(self, way: Way) -> None:
        """Let go of a journal that was carried to its end."""
        self._finished[way.position.journal] = way.end.position.number if way.end is not None else 0
        os.close(way.lock)

    def next(self, since: Position, end: End) -> Parcel | Missed | None:
        """What comes after a position, or what should have.

        :raise OSError: it cannot be read.
        """
        try:
            return self._feed.next(since, end, self._trail)
        except MissedError as error:
            at = begin(self._directory, self._files, since.journal, since.number + 1)
            last = end.position
            if at is None or (at.number, at.offset) > (last.number, last.offset):
                at = Position(last.journal, last.number + 1, 0, last.seq) if end.over else last
            return Missed(str(error), at)

    def save(self, position: Position) -> None:
        """Put down how far it has come.

        :raise OSError: it cannot be.
        """
        self._positions.save(self._writer, position, self._trail)

    def _end(self, journal: str, number: int) -> End | None:
        """The end of a journal, if nobody writes to it. Its lock is held for a moment only: a start wants it."""
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

    def _taken(self, journal: str, last: Position, end: End | None) -> Way | None:
        self._trail = self._trail or trail_id(self._directory, self._entropy)
        lock = self._positions.lock(self._writer, journal)
        if lock is None:
            return None
        try:
            position = self._saved(journal, last) or begin(self._directory, self._files, journal) or last
        except Exception:
            os.close(lock)
            raise
        return Way(position, end, lock)

    def _saved(self, journal: str, last: Position) -> Position | None:
        try:
            position = self._positions.load(self._writer, journal, self._trail)
        except DamagedError as error:
            self._begins_again(str(error))
            return None
        if position is not None and position.seq > last.seq:
            self._begins_again(
                f"its position, record {position.seq}, is beyond the end of journal {journal}, record {last.seq}"
            )
            return None
        return position

    def _begins_again(self, why: str) -> None:
        self._log.critical(
            "Audit writer {writer} begins again with the oldest record: {why}", writer=self._writer, why=why
        )
