"""What the index in columns of a state folder holds."""

from __future__ import annotations

from pathlib import Path

from hospproxy.record.columns.engine import Engine
from hospproxy.record.columns.index import ColumnIndex
from hospproxy.record.columns.trail_files import TrailFolder
from hospproxy.record.search.filters import Filters
from hospproxy.record.trail.identity import trail_id

KINDS = (
    "request",
    "own",
    "intent",
    "finding",
    "disclosure",
    "alert",
    "look",
    "admin",
    "gap",
    "begin",
    "digest",
)


def indexed(state: Path) -> list[tuple[str, str, int, bytes]]:
    """Trail, journal, number and line of every record, in the order of their numbers."""
    audit, folder = state / "audit", state / "audit-index"
    index = ColumnIndex(folder, TrailFolder(audit), lambda: trail_id(audit), Engine(folder), 60.0)
    found = []
    for kind in KINDS:
        after = None
        while True:
            page = index.page(Filters(kind=kind), after, 500)
            for row in page.rows:
                name = row.key.name
                found.append((name.trail, name.journal, name.seq, row.line))
            if (after := page.more_after) is None:
                break
    return sorted(found, key=lambda row: row[2])
