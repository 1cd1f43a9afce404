"""Answers searches from the index in columns: rows of segments by DuckDB, the newest lines directly. Blocks.

A row of the index only says where a line is. Every line is read from the journal and must match by the rule that
holds for the journal's files, so an index that is wrong can hide a record but not make one up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from attrs import define, field

from ..search.filters import Filters
from ..search.match import milliseconds
from ..search.record_values import LOGIN_FAILURE
from ..search.rows import IndexRow, NoIndexYet, RowKey, RowName, RowPage, Summary
from ..trail.scan import record_of
from .engine import Engine, IndexFailed, SegmentUnreadable
from .manifest import IndexManifest, load, stamp
from .tail import FileRest, Tail, parts_of
from .trail_files import LineFetcher, TrailFolder
from .upkeep import TAIL_BYTES, IndexUpkeep, still_holds
from .view import TOP, View

T = TypeVar("T")

MOST_ROWS: Final = 5000
"""Rows of one page."""
MOST_SETS: Final = 10
"""Disclosure records of one page: each may have a megabyte."""
MOST_BEHIND: Final = 64 << 20
"""Bytes of the journal that a search reads directly; with more of them the index is still being built."""


@define(eq=False)
class ColumnIndex:
    """Answers searches from one index. One thread at a time may call it.

    :param folder: of the index.
    :param trail_id: returns the id of the trail.
    :param timeout_s: seconds that a search may take.
    :param floor_ms: returns the time before which rows are left out.
    :param upkeep: brings the index up to date if too many lines are not in it; None: the caller may only read.
    :param most_behind: bytes of the journal that a search reads directly.
    :ivar troubles: what could not be read; one line each.
    """

    folder: Path
    _trail: TrailFolder
    _trail_id: Callable[[], str]
    _engine: Engine
    _timeout_s: float
    _floor_ms: Callable[[], int] = lambda: 0
    _upkeep: IndexUpkeep | None = None
    _most_behind: int = MOST_BEHIND
    troubles: list[str] = field(factory=list, init=False)
    _manifest: IndexManifest | None = field(default=None, init=False)
    _stamp: tuple[int, int, int] | None = field(default=None, init=False)

    def page(self, filters: Filters, after: RowKey | None, limit: int) -> RowPage:
        """The next rows, newest first.

        :param limit: most rows to return.
        :raise NoIndexYet: the index is still being built.
        :raise IndexFailed: it cannot be read, or the search took too long.
        """
        limit = min(limit, MOST_SETS if filters.kind == "disclosure" else MOST_ROWS)

        def search(view: View) -> RowPage:
            rows: list[IndexRow] = []
            tail = view.found_in_tail(filters)
            at = after
            if at is not None and at.name.trail != view.trail:  # the key of another trail counts by its time
                at = RowKey(at.time_ms + 1, RowName(view.trail, "", 0))
            while (need := limit + 1 - len(rows)) > 0:
                rest = [each for each in tail if at is None or each.key(view.trail) < at]
                found = sorted([*view.found(filters, at, need), *rest[:need]], reverse=True)[:need]
                rows += view.checked(found, filters)
                if len(found) < need:
                    break
                at = found[-1].key(view.trail)
            return RowPage(tuple(rows[:limit]), rows[limit - 1].key if len(rows) > limit else None)

        return self._search(search)

    def row(self, name: RowName) -> IndexRow | None:
        """One record by its name; None if there is none.

        :raise NoIndexYet, IndexFailed: as for ``page``.
        """

        def search(view: View) -> IndexRow | None:
            found = view.named(name.journal, name.seq) if name.trail == view.trail else []
            lines = view.fetcher.fetch((each.stem, each.place) for each in found)
            for each in found:
                if (line := lines.get((each.stem, each.place))) is not None:
                    return IndexRow(each.key(view.trail), record_of(line), line)
            return None

        return self._search(search)

    def members(self, disclosed: str, most: int) -> Sequence[str] | None:
        """The patients of a set; None if the set is unknown or has more than ``most``.

        :raise NoIndexYet, IndexFailed: as for ``page``.
        """

        def search(view: View) -> Sequence[str] | None:
            found = {*view.members(disclosed, most + 1), *view.tail.members(disclosed)}
            return tuple(sorted(found)) if 0 < len(found) <= most else None

        return self._search(search)

    def summary(self, since: float) -> Summary:
        """Figures since a time, in seconds since the epoch.

        :raise NoIndexYet, IndexFailed: as for ``page``.
        """
        since_ms = max(milliseconds(since), self._floor_ms())

        def search(view: View) -> Summary:
            everything = list(view.tail.entries())
            newest = max(view.newest_ms, *(each.time_ms for each in everything), 0)
            entries = [each for each in everything if each.time_ms >= since_ms]
            return Summary(
                requests=view.requests(since_ms) + sum(each.kind == "request" for each in entries),
                login_failures=_top(
                    view.grouped(since_ms, "address", f"trouble = {LOGIN_FAILURE}"),
                    (each.address for each in entries if each.trouble == LOGIN_FAILURE),
                ),
                refusals=_top(
                    view.grouped(since_ms, "route", "outcome = 'refused'"),
                    (each.route for each in entries if each.outcome == "refused"),
                ),
                alerts=view.checked(view.alerts(since_ms, entries), Filters(kind="alert")),
                newest=newest / 1000 if newest else None,
            )

        return self._search(search)

    def _search(self, search: Callable[[View], T]) -> T:
        """Search; again if another process has replaced the segments meanwhile, or if they had to be mended."""
        with self._engine.limited(self._timeout_s):
            for last in (False, False, True):
                view = self._view()
                try:
                    return search(view)
                except SegmentUnreadable:
                    if last:
                        raise
                    if self._upkeep is not None and stamp(self.folder) == self._stamp:
                        self._upkeep.run(wait=False, check=True)
                except OSError as error:
                    raise IndexFailed(error.strerror or type(error).__name__) from None
                finally:
                    self.troubles += view.fetcher.troubles
        raise AssertionError

    def _view(self) -> View:
        try:
            manifest, parts, changed = self._look()
            if self._upkeep is not None and (changed or self._is_due(manifest, parts)):
                with suppress(IndexFailed, OSError):  # the lines can still be read directly
                    self._upkeep.run(wait=False)
                manifest, parts, changed = self._look()
        except OSError as error:
            raise IndexFailed(f"the trail or its index cannot be read: {error.strerror}") from None
        if changed:
            raise IndexFailed("the index is being brought up to date")
        if sum(part.size for part in parts) > self._most_behind:
            raise NoIndexYet("the index is still being built")
        fetcher = LineFetcher(self._trail)
        floor_ms = self._floor_ms()
        tail = Tail(self._trail, parts, floor_ms, fetcher.troubles.append, self._engine.check)
        return View(self.folder, manifest, tail, fetcher, self._engine, floor_ms)

    def _look(self) -> tuple[IndexManifest, list[FileRest], bool]:
        """What the index holds, what it does not hold, and whether a file is no longer as it was indexed."""
        now = stamp(self.folder)
        trail_id = self._trail_id()
        if self._manifest is None or now != self._stamp or self._manifest.trail != trail_id:
            self._manifest = load(self.folder, trail_id) or IndexManifest(trail_id)
            self._stamp = now
        parts = parts_of(self._trail, self._manifest)
        covered = self._manifest.covered
        changed = any(
            part.place and not still_holds(self._trail, part.file.stem, covered[part.file.stem])
            for part in parts
        )
        return self._manifest, parts, changed

    def _is_due(self, manifest: IndexManifest, parts: Sequence[FileRest]) -> bool:
        """Whether the index should be brought up to date first, and can be in the time of a search."""
        size = sum(part.size for part in parts)
        closed = any(part.file.after is not None for part in parts)
        return (closed or size > TAIL_BYTES or not manifest.segments) and size <= self._most_behind


def _top(counted: Mapping[str, int], more: Iterable[str | None]) -> tuple[tuple[str, int], ...]:
    """The most frequent values with their counts, most first."""
    total = Counter(dict(counted))
    total.update(each for each in more if each is not None)
    return tuple(sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))[:TOP])
