"""Keeps the index equal to the journal: adds what is new, removes what is gone, mends what is damaged. Blocks.

One process at a time does this: the one that holds the lock. A crash at any moment loses nothing: the manifest is
replaced last, and files that it does not name are removed at the next run.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from math import log
from pathlib import Path
from typing import Final

from attrs import define, field

from ...process.folders import make_private
from . import engine as engines
from .engine import Engine
from .entries import RowEncoder, SetMember
from .manifest import Covered, IndexManifest, Segment, is_intact, load, save
from .segments import DRAFT, Draft, rewritten
from .trail_files import UNREADABLE, TrailFile, TrailFolder

TAIL_BYTES: Final = 4 << 20
"""So many bytes of open files are not indexed yet: reading them takes some 40 ms."""

AT_ONCE_ROWS: Final = 100_000
AT_ONCE_MEMBERS: Final = 1_000_000
"""Rows, and members of sets, after which new rows become a segment."""

FAN: Final = 8
"""So many segments of about the same size are merged into one."""

FULL_ROWS: Final = 1_000_000
"""A segment of so many rows is not merged any more."""

DAY_MS: Final = 86_400_000
_STEP: Final = 2000
_LOCK: Final = "index.lock"


@define(slots=True)
class Done:
    """What one run of the upkeep has changed.

    :param records: that were added.
    :param mended: segments that were missing or damaged, and whose rows were read from the journal again.
    :param removed: files of the journal whose rows were removed.
    :param troubles: what could not be read; one line each.
    """

    records: int = 0
    mended: int = 0
    removed: int = 0
    troubles: list[str] = field(factory=list)


@define(eq=False)
class IndexUpkeep:
    """Brings the index up to date.

    :param folder: of the index; created with mode 0700 if it is missing.
    :param trail_id: returns the id of the trail.
    :param keep_ms: age at which rows are left out, in milliseconds; 0 for never.
    :param wall: seconds since the epoch.
    """

    folder: Path
    _trail: TrailFolder
    _trail_id: Callable[[], str]
    _engine: Engine
    _wall: Callable[[], float]
    _keep_ms: int = 0
    _encoder: RowEncoder = field(factory=RowEncoder, init=False)
    _checked: bool = field(default=False, init=False)

    def run(self, *, wait: bool = True, check: bool = False) -> Done | None:
        """Bring the index up to date: forget, mend, add and merge segments.

        :param wait: for another process that does it now; otherwise return None.
        :param check: read every file of the index, to find damage. The first run of a process always does.
        :raise IndexFailed, OSError: it could not be finished; what is finished counts.
        """
        make_private(self.folder)
        with _locked(self.folder, wait=wait) as has_lock:
            if not has_lock:
                return None
            trail_id = self._trail_id()
            manifest = load(self.folder, trail_id) or IndexManifest(trail_id)
            done = Done()
            self._sweep(manifest)
            self._forget(manifest, done, check=check or not self._checked)
            self._checked = True
            self._add(manifest, done)
            self._merge(manifest)
            return done

    @property
    def floor_ms(self) -> int:
        """Rows that are older than this time are left out."""
        return round(self._wall() * 1000) - self._keep_ms if self._keep_ms else 0

    def _sweep(self, manifest: IndexManifest) -> None:
        """Remove files that a run has left which did not get to its end."""
        known = {each.path(self.folder, ending) for each in manifest.segments for ending in each.files}
        for path in (*self.folder.glob("*.parquet"), *self.folder.glob(f"*{DRAFT}")):
            if path not in known:
                path.unlink(missing_ok=True)
        engines.remove_left(self.folder)

    def _forget(self, manifest: IndexManifest, done: Done, *, check: bool) -> None:
        """Drop rows whose segment is damaged, or whose file is gone, changed or past its retention."""
        lost = [each for each in manifest.segments if not is_intact(self.folder, each, read=check)]
        done.mended = len(lost)
        there = {file.stem: file for file in self._trail.listed()}
        gone = {stem for stem in manifest.covered if stem not in there}
        changed = {
            stem
            for stem, covered in manifest.covered.items()
            if stem in there and not covered.whole and not still_holds(self._trail, stem, covered)
        }
        forgotten = {*gone, *changed, *(stem for each in lost for stem in each.stems)}
        indexed = {stem for each in manifest.segments for stem in each.stems}
        old = {stem for stem in indexed if stem in there and self._is_old(there[stem])}
        done.removed = len(indexed & (gone | old))
        dropped = forgotten | old
        if not lost and dropped.isdisjoint(manifest.covered):
            return
        kept: list[Segment] = []
        for each in manifest.segments:
            if each in lost:
                continue
            if dropped.isdisjoint(each.stems):
                kept.append(each)
            elif (new := self._rewritten(manifest, [each], dropped)) is not None:
                kept.append(new)
        if forgotten or kept != manifest.segments:
            self._replace(manifest, kept, manifest.without(forgotten))

    def _is_old(self, file: TrailFile) -> bool:
        """Whether a file ended so long ago that its rows are left out. A file goes as a whole, with its sets."""
        return file.after is not None and file.after.begun.timestamp() * 1000 < self.floor_ms - DAY_MS

    def _rewritten(
        self, manifest: IndexManifest, segments: list[Segment], dropped: Iterable[str]
    ) -> Segment | None:
        manifest.number += 1
        name = f"s{manifest.number:08d}"
        return rewritten(self._engine, self.folder, name, segments, dropped)

    def _replace(self, manifest: IndexManifest, segments: list[Segment], covered: dict[str, Covered]) -> None:
        """Make this the content of the index, and remove the files of segments that are no longer in it."""
        before = manifest.segments
        manifest.segments, manifest.covered = segments, covered
        save(self.folder, manifest)
        names = {each.name for each in segments}
        for each in before:
            if each.name not in names:
                for ending in each.files:
                    each.path(self.folder, ending).unlink(missing_ok=True)

    def _add(self, manifest: IndexManifest, done: Done) -> None:
        """Add the lines that no segment has, and save after each segment."""
        files = self._trail.listed()
        tail = TAIL_BYTES // max(1, sum(file.after is None for file in files))
        adding = Adding(self._trail, self._encoder)
        for file in files:
            covered = manifest.covered.get(file.stem)
            if covered is not None and covered.whole:
                continue
            start = covered.place if covered is not None else 0
            if file.after is None and self._trail.size(file.stem) - start < tail:
                continue
            if self._is_old(file):
                adding.covered[file.stem] = Covered(0, 0, 0, "", whole=True)
                continue
            try:
                for full in adding.file(file, covered, lambda: self._draft(manifest)):
                    self._keep(manifest, full, adding, done)
            except UNREADABLE as error:
                done.troubles.append(f"{file.name.name}: {getattr(error, 'strerror', None) or error}")
        if adding.covered:
            self._keep(manifest, adding.draft, adding, done)

    def _draft(self, manifest: IndexManifest) -> Draft:
        manifest.number += 1
        return Draft(self.folder, f"s{manifest.number:08d}")

    def _keep(self, manifest: IndexManifest, draft: Draft | None, adding: Adding, done: Done) -> None:
        new = draft.written(self._engine) if draft is not None else None
        done.records += new.rows if new is not None else 0
        segments = [*manifest.segments, *([new] if new is not None else [])]
        self._replace(manifest, segments, {**manifest.covered, **adding.covered})
        adding.begin_next()

    def _merge(self, manifest: IndexManifest) -> None:
        """Merge segments of about the same size, so that there are never many."""
        while (part := mergeable(manifest.segments)) is not None:
            new = self._rewritten(manifest, part, ())
            names = {each.name for each in part}
            kept = [each for each in manifest.segments if each.name not in names]
            self._replace(manifest, [*kept, *([new] if new is not None else [])], manifest.covered)


def mergeable(segments: Iterable[Segment]) -> list[Segment] | None:
    """Segments of about the same size that are due to be merged; None if there are none. Pure."""
    sizes: dict[int, list[Segment]] = {}
    for each in segments:
        if each.rows < FULL_ROWS:
            sizes.setdefault(int(log(max(1, each.rows), FAN)), []).append(each)
    return next((found for _, found in sorted(sizes.items()) if len(found) >= FAN), None)


def still_holds(trail: TrailFolder, stem: str, covered: Covered) -> bool:
    """Whether a file still has the line that was the last one indexed.

    A group of records that could not be synced is cut off again, and a power cut takes what was not synced.
    """
    if not covered.last_hash:
        return True
    try:
        _, line = next(iter(trail.lines(stem, covered.last_place, covered.place)))
    except (StopIteration, *UNREADABLE):
        return False
    return sha256(line).hexdigest() == covered.last_hash


@define(eq=False)
class Adding:
    """Rows of several files on their way into one segment.

    :ivar covered: how far those files are in the index once the draft is.
    """

    _trail: TrailFolder
    _encoder: RowEncoder
    covered: dict[str, Covered] = field(factory=dict, init=False)
    draft: Draft | None = field(default=None, init=False)

    def file(self, file: TrailFile, covered: Covered | None, make: Callable[[], Draft]) -> Iterator[Draft]:
        """Add the lines of a file; yield the draft each time when it is full.

        :raise OSError, EOFError, zlib.error: a part cannot be read; what is before it was added.
        """
        stem, end = file.stem, self._trail.valid_bytes(file)
        at = covered or Covered(0, self._trail.first_seq(file.stem), 0, "")
        place, seq, last_place, last = at.place, at.seq, at.last_place, b""
        rows: list[bytes] = []
        encoded = self._encoder.row
        members: list[SetMember] = []

        def flushed(*, whole: bool) -> Draft | None:
            last_hash = sha256(last).hexdigest() if last else at.last_hash
            self.covered[file.stem] = Covered(place, seq, last_place, last_hash, whole)
            return self._flush(rows, members, make)

        try:
            for last_place, line in self._trail.lines(stem, at.place, end):
                row, declared = encoded(line, stem, seq, last_place)
                rows.append(row)
                if declared:
                    members += declared
                place, seq, last = last_place + len(line) + 1, seq + 1, line
                if len(rows) + len(members) >= _STEP and (full := flushed(whole=False)) is not None:
                    yield full
        except UNREADABLE:
            flushed(whole=False)
            raise
        flushed(whole=file.after is not None)

    def _flush(self, rows: list[bytes], members: list[SetMember], make: Callable[[], Draft]) -> Draft | None:
        if self.draft is None and (rows or members):
            self.draft = make()
        if self.draft is None:
            return None
        self.draft.add(rows, members)
        rows.clear()
        members.clear()
        full = self.draft.rows >= AT_ONCE_ROWS or self.draft.members >= AT_ONCE_MEMBERS
        return self.draft if full else None

    def begin_next(self) -> None:
        """Begin with no rows: those so far are in the index."""
        self.covered = {}
        self.draft = None


@contextmanager
def _locked(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of the index; the kernel frees it however its owner ends."""
    descriptor = os.open(folder / _LOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
