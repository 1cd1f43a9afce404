"""Finds where a journal continues after a start: the newest file that an earlier process left."""

from __future__ import annotations

from pathlib import Path

from .files import TrailFiles
from .hash_chain import ChainHead
from .marks import EndedFile
from .names import TOMBSTONE, FileName, of_journal
from .scan import rest_of, scan


def newest(files: TrailFiles, directory: Path, journal: str) -> EndedFile | None:
    """The file that the next one continues; None if the journal has no files.

    A line torn by a crash stays as it is, where it is. The next file's first record mentions it.

    :raise OSError: the file cannot be read.
    """
    names = of_journal(files.names(directory), journal)
    if not names:
        return None
    last = next((name for name in reversed(names) if name.form != TOMBSTONE), names[-1])
    if last.form == TOMBSTONE:  # upkeep never removes the newest file, so it was tampered with
        return EndedFile(last.stem, last.number, 0, 0, "", ChainHead(), "unreadable")
    return _ended(files, directory, last, names[-1].number)


def _ended(files: TrailFiles, directory: Path, name: FileName, number: int) -> EndedFile:
    try:
        with files.read(directory, name.name) as file:
            found = scan(file)
            rest = None if found.whole else rest_of(file, found.size)
    except EOFError as error:  # a compressed file that was cut off
        raise OSError(5, f"{name.name} is incomplete: its compressed data ends early") from error
    how = "closed" if found.closed and rest is None else "recovered"
    if not found.records:
        how = "unreadable"
    return EndedFile(name.stem, number, found.records, found.size, found.sha256, found.head, how, rest)
