"""Where a journal goes on after a start: the newest file that an earlier process has left."""

from __future__ import annotations

from pathlib import Path

from .files import Files
from .linking import Head
from .marks import Ended
from .names import TOMBSTONE, FileName, of_journal
from .scan import rest_of, scan


def newest(files: Files, directory: Path, journal: str) -> Ended | None:
    """The file that the next one goes on from; None where there has been none.

    A line that a crash has torn stays as it is and where it is; it is told of, never merged.

    :raise OSError: it cannot be read.
    """
    names = of_journal(files.names(directory), journal)
    if not names:
        return None
    last = next((name for name in reversed(names) if name.form != TOMBSTONE), names[-1])
    if last.form == TOMBSTONE:  # nobody removes the newest file, so somebody has
        return Ended(last.stem, last.number, 0, 0, "", Head(), "unreadable")
    return _ended(files, directory, last, names[-1].number)


def _ended(files: Files, directory: Path, name: FileName, number: int) -> Ended:
    try:
        with files.read(directory, name.name) as file:
            found = scan(file)
            rest = None if found.whole else rest_of(file, found.size)
    except EOFError as error:  # a packed file that was cut
        raise OSError(5, f"{name.name} is cut off") from error
    how = "closed" if found.closed and rest is None else "recovered"
    if not found.records:
        how = "unreadable"
    return Ended(name.stem, number, found.records, found.size, found.sha256, found.head, how, rest)
