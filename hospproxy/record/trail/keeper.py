"""Appends one group of chained lines at a time: the whole group reaches the disk, or none of it counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from twisted.logger import Logger

from ...http.errors import RecordFailed
from ...keys.signing_key import Signer
from ..disclosures import Disclosure
from . import marks, recovery
from .current import CurrentFile, RecordGroup, RingAppend, RotationPlan, within
from .ends import Publish, unpublished
from .files import FULL, JournalFile, OsFiles, TrailFiles
from .follower import Cursor
from .hash_chain import ChainHead, linked, linked_and_signed
from .marks import EndedFile
from .names import made
from .record_line import encode_record
from .scan import rest_of

_RETRY_S = 5.0
"""Seconds between two attempts to leave the reserve."""

_MOST_BYTES = 1 << 18
"""Largest group, in bytes, that is hashed in the reactor's thread: half a millisecond."""


class _NotKeptError(Exception):
    """A write failed and none of its lines count.

    :param full: the disk has no space left.
    """

    def __init__(self, words: str, error: OSError | None) -> None:
        super().__init__(words)
        self.full = error is None or error.errno in FULL


class TrailKeeper:
    """Appends groups of chained lines to the journal's file. One thread at a time may call it.

    All methods block, except ``prepare`` and ``written``: between the two, the ring appends the group
    (group_commit.py). Each start begins a new file, and so does a file that can no longer be trusted. So a line
    torn by a crash is always the last of its file and is never merged with another. The chain continues from file
    to file. When the disk is full, the keeper continues in a reserve file allocated earlier; ``full`` is then true.

    :param directory: folder of the files; created with mode 0700 if it is missing.
    :param wall: seconds since the epoch.
    :param publish: called each time that the end of what is on disk moves.
    """

    _log = Logger()

    def __init__(
        self,
        directory: Path,
        wall: Callable[[], float],
        files: TrailFiles | None = None,
        *,
        signer: Signer,
        plan: RotationPlan | None = None,
        publish: Publish = unpublished,
    ) -> None:
        self._directory = directory
        self._wall = wall
        self._files: TrailFiles = files if files is not None else OsFiles()
        self._signer = signer
        self._plan = plan or RotationPlan()
        self._publish = publish
        self._now: CurrentFile | None = None
        self._before: EndedFile | None = None
        self._head = ChainHead()
        self._reserve_ready = False
        self._tried_at: float | None = None
        self.journal: str | None = None
        self.path: Path | None = None
        self.committed: Cursor | None = None

    @property
    def full(self) -> bool:
        """True while the keeper writes to the reserve, or has used it up."""
        return self._now is not None and self._now.reserve

    @property
    def reserve_left(self) -> int:
        """Free bytes in the reserve; 0 if it is used up or does not exist."""
        if self._now is not None and self._now.reserve:
            return max(0, self._plan.reserve_bytes - self._now.size)
        return self._plan.reserve_bytes if self._reserve_ready else 0

    def open(self) -> Path:
        """Begin a file unless one is open; return the path of the open file.

        :raise RecordFailed: no file can be made.
        """
        try:
            self._open()
        except OSError as error:
            raise RecordFailed(f"cannot create audit files in {self._directory}: {error.strerror}") from error
        assert self.path is not None
        return self.path

    def keep(self, lines: Sequence[bytes], named: Sequence[Disclosure | None] = ()) -> int:
        """Append a group; all of it is on disk when this returns.

        :param lines: JSON objects, without line ends.
        :param named: the patient set that each line names, or None; empty if no line names one. Sets that the
            file does not hold yet are written before the line that names them.
        :return: how many disclosure records were written for those sets.
        :raise RecordFailed: none of the lines is kept.
        """
        self._turn_over()
        self.open()
        try:
            return self._commit(lines, named)
        except _NotKeptError as first:
            if not first.full or self.full or not self._into_reserve():
                raise RecordFailed(str(first)) from first
            try:
                return self._commit(lines, named)
            except _NotKeptError as error:
                raise RecordFailed(str(error)) from error

    def prepare(self, lines: Sequence[bytes], named: Sequence[Disclosure | None] = ()) -> RingAppend | None:
        """Chain a group that the ring will append; call ``written`` or ``keep_after`` afterwards.

        :return: None if other work is due first, or the group is too long to hash here: use ``keep`` instead.
        """
        now = self._now
        size = sum(map(len, lines)) + sum(each.size for each in set(named) if each is not None)
        if now is None or now.reserve or self._is_over(now) or size > _MOST_BYTES:
            return None
        return RingAppend(now.file, now.size, self._chained(lines, named))

    def written(self, append: RingAppend) -> int:
        """Take note that the whole group is on disk; return how many disclosure records it holds.

        :raise OSError: the file was removed meanwhile: call ``keep_after``.
        """
        append.file.sync()
        group = append.group
        self._wrote(group.data, group.records, group.head)
        self._remember(group)
        return group.of_sets

    def keep_after(
        self, error: OSError | None, lines: Sequence[bytes], named: Sequence[Disclosure | None]
    ) -> int:
        """Like ``keep``, after an append by the ring failed or wrote only a part.

        :param error: the append's error, handled as ``_write`` does; None if it wrote only a part.
        """
        now = self._now
        if now is not None:
            self._cut_back(now)
            if error is not None and error.errno not in FULL:
                self._let_go("failed")
        return self.keep(lines, named)

    def tend(self) -> None:
        """Do what is due by the clock: a digest, file rotation, leaving the reserve.

        :raise RecordFailed: there is no file, and none can be made.
        """
        self._turn_over()
        self.open()
        now = self._now
        assert now is not None
        if not within(self._wall() - now.signed_at, self._plan.digest_s):
            with suppress(_NotKeptError):
                self._sign(closing=False)
        self._put_by()

    def close(self) -> None:
        """Sign what the file holds and close it; the next group begins another file."""
        self._end()
        if self.committed is not None:
            self._publish(self.committed, closed=True)
        self._files.release()
        self.journal = None

    def _open(self) -> None:
        if self._now is not None:
            return
        if self.journal is None:
            self.journal = self._files.claim(self._directory)
            self._continue()
        try:
            self._begin(self._files.create)
        except OSError as error:
            if error.errno not in FULL or not self._into_reserve():
                raise
        self._put_by()

    def _continue(self) -> None:
        assert self.journal is not None
        before = self._before = recovery.newest(self._files, self._directory, self.journal)
        if before is None:
            return
        self._head = before.head
        if before.how == "unreadable" or (before.rest is not None and before.rest.records):
            self._log.critical(
                "Audit file {file} was changed or damaged while no process wrote to it: run hospproxy-audit verify",
                file=before.name,
            )

    def _begin(self, make: Callable[[Path, str, bytes], JournalFile], *, reserve: bool = False) -> None:
        assert self.journal is not None
        wall = self._wall()
        before = self._before
        number = before.number + 1 if before is not None else 1
        name = made(self.journal, number, wall)
        record = marks.begin(self.journal, name, number, wall, before, self._signer.key_id)
        line, head = linked_and_signed(encode_record(record), self._head, self._signer.sign)
        file = make(self._directory, name, line + b"\n")
        self._now = CurrentFile(file, name, number, wall, wall, reserve)
        self.path = self._directory / name
        self._wrote(line + b"\n", 1, head)

    def _commit(self, lines: Sequence[bytes], named: Sequence[Disclosure | None]) -> int:
        group = self._chained(lines, named)
        self._write(group.data, group.records, group.head)
        self._remember(group)
        return group.of_sets

    def _chained(self, lines: Sequence[bytes], named: Sequence[Disclosure | None]) -> RecordGroup:
        new: dict[str, None] = {}
        whole = self._with_sets(lines, named, new) if any(named) else lines
        chained, head = linked(whole, self._head)
        return RecordGroup(b"\n".join((*chained, b"")), len(whole), head, new, len(whole) - len(lines))

    def _remember(self, group: RecordGroup) -> None:
        if group.sets and self._now is not None:  # only after the write: a failed write is cut off again
            self._now.remember(group.sets)

    def _with_sets(
        self, lines: Sequence[bytes], named: Sequence[Disclosure | None], new: dict[str, None]
    ) -> Sequence[bytes]:
        """Insert each set that this file does not hold yet before the first line that names it.

        :param new: receives the hashes of those sets.
        """
        known = self._now.sets if self._now is not None else {}
        wall = self._wall()
        whole: list[bytes] = []
        for line, disclosure in zip(lines, named, strict=True):
            if disclosure is not None and disclosure.set not in known and disclosure.set not in new:
                new[disclosure.set] = None
                whole.extend(disclosure.lines(wall))
            whole.append(line)
        return whole

    def _sign(self, *, closing: bool) -> None:
        now = self._now
        assert now is not None
        assert self.journal is not None
        wall = self._wall()
        sums = (now.records, now.size, now.content.hexdigest())
        record = marks.digest(
            self.journal, now.name, wall, sums, self._head, closing=closing, key_id=self._signer.key_id
        )
        line, head = linked_and_signed(encode_record(record), self._head, self._signer.sign)
        self._write(line + b"\n", 1, head)
        now.signed_at = wall

    def _write(self, data: bytes, records: int, head: ChainHead) -> None:
        now = self._now
        if now is None:
            raise _NotKeptError("no audit file is open", OSError())
        try:
            written = now.file.write(data)
        except OSError as error:
            self._cut_back(now)
            if error.errno not in FULL:  # possibly a failed sync: see below
                self._let_go("failed")
            raise _NotKeptError(f"cannot write: {error.strerror}", error) from error
        if written != len(data):
            self._cut_back(now)
            raise _NotKeptError("cannot write: the disk took only a part", None)
        try:
            now.file.sync()
        except OSError as error:
            # After a failed sync the kernel may mark these pages clean, and the next sync then succeeds
            # although they never reached the disk. A file whose sync failed once is therefore not used again.
            self._cut_back(now)
            self._let_go("failed")
            raise _NotKeptError(f"cannot sync: {error.strerror}", error) from error
        self._wrote(data, records, head)

    def _wrote(self, data: bytes, records: int, head: ChainHead) -> None:
        now = self._now
        assert now is not None
        assert self.journal is not None
        now.add(data, records)
        self._head = head
        self.committed = Cursor(self.journal, now.number, now.size, head.seq)
        self._publish(self.committed, closed=False)

    def _cut_back(self, now: CurrentFile) -> None:
        try:
            now.file.truncate(now.size)
        except OSError:
            self._let_go("failed")

    def _turn_over(self) -> None:
        """End the file if rotation is due, or leave the reserve if the disk has space again.

        In the reserve nothing is rotated: without space for a digest there is none for a file.
        """
        now = self._now
        if now is None:
            return
        wall = self._wall()
        if now.reserve:
            if self._tried_at is None or not within(wall - self._tried_at, _RETRY_S):
                self._tried_at = wall
                self._leave_reserve()
        elif self._is_over(now):
            self._end()

    def _is_over(self, now: CurrentFile) -> bool:
        age = self._wall() - now.begun
        return now.size >= self._plan.rotate_bytes or not within(age, self._plan.rotate_s)

    def _end(self) -> None:
        if self._now is None:
            return
        try:
            self._sign(closing=True)
        except _NotKeptError:
            self._let_go("failed")
        else:
            self._let_go("closed")

    def _let_go(self, how: str) -> None:
        """Close the file. The next file's first record says what this one held."""
        now, self._now = self._now, None
        if now is None:
            return
        with suppress(OSError):
            now.file.close()
        rest = None
        with suppress(OSError, EOFError), self._files.read(self._directory, now.name) as file:
            rest = rest_of(file, now.size)
        self._before = EndedFile(
            now.name, now.number, now.records, now.size, now.content.hexdigest(), self._head, how, rest
        )

    def _reserve_name(self) -> str:
        return f"audit-{self.journal}.reserve"

    def _put_by(self) -> None:
        if self._reserve_ready or not self._plan.reserve_bytes or self.full:
            return
        with suppress(OSError):
            self._files.make_reserve(self._directory, self._reserve_name(), self._plan.reserve_bytes)
            self._reserve_ready = True

    def _into_reserve(self) -> bool:
        """Continue in the reserve. The old file stays as it is: there is no space for its digest."""
        reserve = self._reserve_name()
        try:
            if not self._plan.reserve_bytes or reserve not in self._files.names(self._directory):
                return False
            self._let_go("failed")
            self._begin(
                lambda folder, name, first: self._files.from_reserve(folder, reserve, name, first),
                reserve=True,
            )
        except OSError:
            return False
        self._reserve_ready = False
        self._tried_at = self._wall()
        self._log.error("Disk full, free some space: audit records go to reserve {path}", path=str(self.path))
        return True

    def _leave_reserve(self) -> None:
        """Leave only once another reserve is allocated; else a few free bytes would cost us the last reserve."""
        try:
            self._files.make_reserve(self._directory, self._reserve_name(), self._plan.reserve_bytes)
        except OSError:
            return
        self._reserve_ready = True
        self._end()
        self._log.info("The disk has space again: audit records go to a normal file")
