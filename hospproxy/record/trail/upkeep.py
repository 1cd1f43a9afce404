"""Compresses closed files, and replaces files past their retention by tombstones.

All of this blocks and may take seconds, so it has a thread of its own, apart from the one that writes.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from attrs import define, field, frozen

from ...keys.signing_key import Signer
from ...process.folders import sync_folder
from .files import OsFiles, TrailFiles, locked
from .follower import Cursor
from .hash_chain import signed
from .marks import is_older, tombstone
from .names import PACKED, PLAIN, TOMBSTONE, FileName, of_journal, parse
from .packed import write_packed
from .record_line import encode_record
from .scan import record_of

_BLOCK = 1 << 18


def _never(_journal: str) -> int | None:
    return None


@define(slots=True)
class UpkeepResult:
    """The result of one run over the folder.

    :param packed: files compressed.
    :param removed: files removed.
    :param troubles: what could not be done and why; one line each.
    """

    packed: int = 0
    removed: int = 0
    troubles: list[str] = field(factory=list)


@frozen(slots=True)
class TrailUpkeep:
    """Compresses and removes closed files.

    :param directory: of the journal.
    :param signer: signs tombstones.
    :param wall: seconds since the epoch.
    :param retention_days: how long a file is kept after its end; 0 means forever.
    :param needed_from: returns, for a journal, the lowest number of a file that a sink has not delivered yet,
        or None.
    """

    directory: Path
    signer: Signer
    wall: Callable[[], float]
    retention_days: float = 0.0
    needed_from: Callable[[str], int | None] = _never
    files: TrailFiles = field(factory=OsFiles)

    def run(self, *current: Cursor) -> UpkeepResult:
        """Compress and remove what is due, in the given journals and in those that no process has locked.

        :param current: where journals are being written; these files and later ones are not touched.
        """
        done = UpkeepResult()
        for each in current:
            self._tend(each.journal, each.number, done)
        names = [file for name in self.files.names(self.directory) if (file := parse(name)) is not None]
        for journal in sorted({name.journal for name in names} - {each.journal for each in current}):
            try:
                lock = locked(self.directory, journal)
            except OSError as error:  # owned by another user: continue with the other journals
                done.troubles.append(f"journal {journal}: {error}")
                continue
            if lock is None:
                continue  # the process that holds the lock does it
            try:
                newest = max(name.number for name in names if name.journal == journal)
                self._tend(journal, newest, done)
            finally:
                os.close(lock)
        return done

    def _tend(self, journal: str, current: int, done: UpkeepResult) -> None:
        # The folder is listed once, and a compressed file is opened only when it may be removed: there may be
        # tens of thousands.
        names = of_journal(self.files.names(self.directory), journal)
        following = {name.number: name for name in reversed(names) if name.form != TOMBSTONE}
        for name in names:
            if name.number >= current or name.form == TOMBSTONE:
                continue
            try:
                self._tend_one(name, following.get(name.number + 1), done)
            except (OSError, EOFError, ValueError) as error:
                done.troubles.append(f"{name.name}: {error}")

    def _tend_one(self, name: FileName, after: FileName | None, done: UpkeepResult) -> None:
        if after is None:
            raise ValueError("the next file is missing")
        may_go = self._may_go(name, after)
        if name.form == PACKED and not may_go:
            return
        continues = self._begin(after).get("continues") or {}
        if continues.get("file") != name.stem:
            raise ValueError(f"{after.name} does not continue this file")
        if may_go:
            self._remove(name, continues)
            done.removed += 1
        elif name.form == PLAIN:
            self._pack(name, continues)
            done.packed += 1

    def _may_go(self, name: FileName, after: FileName) -> bool:
        if self.retention_days <= 0 or not is_older(after.begun, self.wall(), self.retention_days):
            return False
        needed = self.needed_from(name.journal)
        return needed is None or name.number < needed

    def _begin(self, name: FileName) -> dict[str, Any]:
        with self.files.read(self.directory, name.name) as file:
            return record_of(file.readline().rstrip(b"\n"))

    def _pack(self, name: FileName, continues: dict[str, Any]) -> None:
        source = self.directory / name.name
        target = self.directory / (name.stem + PACKED)
        draft = self.directory / f"{name.stem}{PACKED}.part"
        with source.open("rb") as plain:
            whole = self._checked(plain, continues)
            plain.seek(0)
            try:
                write_packed(plain, draft)
                with gzip.open(draft, "rb") as packed:
                    if _content(packed) != whole:
                        raise ValueError("its compressed copy differs from it")
            except (OSError, EOFError, ValueError):
                with suppress(OSError):
                    draft.unlink()
                raise
        draft.rename(target)
        sync_folder(self.directory)
        source.unlink()

    def _remove(self, name: FileName, continues: dict[str, Any]) -> None:
        """Write the tombstone to disk, then remove the file. Damaged files stay, as evidence."""
        last: bytes = b""
        with self.files.read(self.directory, name.name) as file:
            self._checked(file, continues)
            file.seek(0)
            first = record_of(file.readline().rstrip(b"\n"))
            left = int(continues["bytes"])
            file.seek(0)
            while left > 0 and (line := file.readline()):
                last, left = line, left - len(line)
        record = tombstone(
            name.journal, name.number, continues, first, record_of(last.rstrip(b"\n")), self.wall()
        )
        line = signed(encode_record(record), self.signer.sign)
        place = self.directory / (name.stem + TOMBSTONE)
        draft = place.with_name(place.name + ".part")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file_:
            file_.write(line + b"\n")
            file_.flush()
            os.fsync(descriptor)
        draft.rename(place)
        sync_folder(self.directory)
        (self.directory / name.name).unlink()

    def _checked(self, file: BinaryIO, continues: dict[str, Any]) -> bytes:
        """Check a closed file and return the hash of all its bytes.

        :raise ValueError: its valid part is not what the next file says.
        """
        good = sha256()
        left = int(continues["bytes"])
        while left and (block := file.read(min(_BLOCK, left))):
            good.update(block)
            left -= len(block)
        if left or good.hexdigest() != continues["sha256"]:
            raise ValueError("it was changed after it was closed: run hospproxy-audit verify")
        whole = good.copy()
        while block := file.read(_BLOCK):
            whole.update(block)
        return whole.digest()


def _content(file: BinaryIO | gzip.GzipFile) -> bytes:
    content = sha256()
    while block := file.read(_BLOCK):
        content.update(block)
    return content.digest()
