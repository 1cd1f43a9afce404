"""Finds the newest matching rows, with bounded work for any filters. Blocks.

The rarest filter leads: its index returns the next candidates, and the other filters are tested on them. If no
filter is rare and yet no row matches them all, the search stops after a number of candidates and reports how
far it came.
"""

from __future__ import annotations

from attrs import frozen
from sqlalchemy import Connection, Select, Subquery, select, union

from ..search.filters import Filters
from .conditions import CandidatePath, IndexCandidates, Place, SqlFilters, asked, before, start_of
from .schema import RECORDS

STEP = 2000
WORK = 10_000
"""Candidates that are tested together (STEP), and in one search (WORK)."""
C = RECORDS.c


@frozen(slots=True)
class SearchResult:
    """The rows that one search found, and where to continue.

    :param places: of matching rows, newest first.
    :param last: where to continue; None at the end.
    :param short: the search stopped at the work bound, not at the row limit.
    """

    places: tuple[Place, ...]
    last: Place | None = None
    short: bool = False


def search(connection: Connection, filters: Filters, after: Place | None, limit: int) -> SearchResult:
    """Find the next matching rows, newest first, with bounded work.

    :param after: where the last search ended.
    :param limit: most rows to return.
    """
    start = start_of(filters, after)
    what = asked(connection, filters, start)
    if what is None:
        return SearchResult(())
    found: list[Place] = []
    for _ in range(WORK // STEP):
        way, end = _rarest(connection, what, start)
        found += _fitting(connection, what, way, start, limit + 1 - len(found))
        if len(found) > limit:
            return SearchResult(tuple(found[:limit]), found[limit - 1])
        if end is None:
            return SearchResult(tuple(found))
        start = end
    return SearchResult(tuple(found), start, short=True)


def _rarest(
    connection: Connection, what: SqlFilters, start: Place | None
) -> tuple[CandidatePath, Place | None]:
    """The way whose next STEP candidates reach furthest back, and the last of them; None for fewer than STEP."""
    best: tuple[CandidatePath, Place] | None = None
    for way in what.ways:
        row = connection.execute(_candidates(way, what, start).offset(STEP - 1).limit(1)).first()
        if row is None:
            return way, None
        end = (row.time_ms, row.id)
        if best is None or end < best[1]:
            best = way, end
    assert best is not None
    return best


def _branch(what: SqlFilters, branch: IndexCandidates, start: Place | None) -> Select[tuple[int, int]]:
    ends = [place for place in (start, branch.until) if place is not None]
    conditions = [*before(min(ends, default=None)), *what.bounds]
    if branch.condition is not None:
        conditions.append(branch.condition)
    return select(C.time_ms, C.id).where(*conditions).order_by(C.time_ms.desc(), C.id.desc()).limit(STEP)


def _candidates(way: CandidatePath, what: SqlFilters, start: Place | None) -> Select[tuple[int, int]]:
    """The next candidates of a way."""
    if len(way.branches) == 1:
        return _branch(what, way.branches[0], start)
    each = [_branch(what, branch, start).subquery() for branch in way.branches]
    both: Subquery = union(*(select(one.c.time_ms, one.c.id) for one in each)).subquery()
    return select(both.c.time_ms, both.c.id).order_by(both.c.time_ms.desc(), both.c.id.desc()).limit(STEP)


def _fitting(
    connection: Connection, what: SqlFilters, way: CandidatePath, start: Place | None, limit: int
) -> list[Place]:
    """The next candidates that meet all conditions."""
    candidate = _candidates(way, what, start).subquery().c
    rows = connection.execute(
        select(candidate.time_ms, candidate.id)
        .join(RECORDS, (candidate.time_ms == C.time_ms) & (candidate.id == C.id))
        .where(*what.conditions)
        # Order by an expression: otherwise a planner may scan all records in order to avoid the sort.
        .order_by(-candidate.time_ms, -candidate.id)
        .limit(limit)
    )
    return [(row.time_ms, row.id) for row in rows]
