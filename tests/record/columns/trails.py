"""A trail with journals, restarts and packed files, filled by hand, and an index beside it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hospproxy.record.columns.engine import Engine
from hospproxy.record.columns.index import ColumnIndex
from hospproxy.record.columns.trail_files import TrailFolder
from hospproxy.record.columns.upkeep import IndexUpkeep
from hospproxy.record.search.filters import Filters
from hospproxy.record.search.folder import FolderReader
from hospproxy.record.search.rows import IndexRow, RowKey
from hospproxy.record.trail.current import RotationPlan
from hospproxy.record.trail.files import OsFiles
from hospproxy.record.trail.keeper import TrailKeeper
from hospproxy.record.trail.names import TOMBSTONE
from hospproxy.record.trail.record_line import encode_record
from hospproxy.record.trail.upkeep import TrailUpkeep

from ..random_records import SETS, any_record
from ..trail.trails import SIGNER

TRAIL = "0123456789abcdef"


class IndexedTrail:
    """A trail and its index.

    :param folder: created here; holds both.
    """

    def __init__(self, folder: Path, journals: int = 1, wall: float = 1000.0) -> None:
        folder.mkdir(parents=True)
        self.now = wall
        self.trail = folder / "audit"
        self.folder = folder / "audit-index"
        self.troubles: list[str] = []
        self.keepers = [self.keeper() for _ in range(journals)]
        self.index = self.opened()

    def keeper(self) -> TrailKeeper:
        keeper = TrailKeeper(
            self.trail, lambda: self.now, OsFiles(), signer=SIGNER, plan=RotationPlan(rotate_s=1e12)
        )
        keeper.open()
        return keeper

    def opened(self, *, upkeep: bool = True, keep_ms: int = 0, **more: Any) -> ColumnIndex:
        """The index as another process opens it.

        :param upkeep: it may bring the index up to date.
        """
        engine = Engine(self.folder)
        folder = TrailFolder(self.trail)
        self.upkeep = IndexUpkeep(self.folder, folder, lambda: TRAIL, engine, lambda: self.now, keep_ms)
        return ColumnIndex(
            self.folder,
            folder,
            lambda: TRAIL,
            engine,
            60.0,
            lambda: self.upkeep.floor_ms,
            self.upkeep if upkeep else None,
            **more,
        )

    def keep(self, records: Iterable[Mapping[str, Any]], journal: int = 0) -> None:
        """Append records in one group."""
        self.keepers[journal].keep([encode_record(each) for each in records])

    def next_file(self, journal: int = 0) -> None:
        """Close the file of a journal and begin the next one."""
        self.keepers[journal]._end()
        self.keepers[journal].open()

    def pack(self, retention_days: float = 0.0) -> None:
        """Compress the closed files of the first journal, or remove them."""
        committed = self.keepers[0].committed
        assert committed is not None
        done = TrailUpkeep(self.trail, SIGNER, lambda: self.now, retention_days).run(committed)
        assert done.troubles == [], done.troubles

    def fill(self, chance: random.Random, count: int, journal: int = 0) -> None:
        """Append random records, after the sets that they refer to."""
        told = [
            {"kind": "disclosure", "set": name, "patients": ids, "time": "1970-01-01T00:00:00.500Z"}
            for name, ids in SETS.items()
        ]
        self.keep([*told, *(any_record(chance) for _ in range(count))], journal)

    def pages(self, filters: Filters, limit: int) -> list[IndexRow]:
        """All pages."""
        rows: list[IndexRow] = []
        after: RowKey | None = None
        for _ in range(5000):
            page = self.index.page(filters, after, limit)
            assert len(page.rows) <= limit
            rows += page.rows
            after = page.more_after
            if after is None:
                return rows
        raise AssertionError("no end")

    def scanned(self, filters: Filters) -> list[IndexRow]:
        """What a plain scan of the files finds, in the order of the index."""
        rows = FolderReader(self.trail, self.troubles.append, trail=TRAIL).rows(filters)
        return sorted(rows, key=lambda row: row.key, reverse=True)

    @property
    def paths(self) -> list[Path]:
        """The journals' files that hold records."""
        return sorted(path for path in self.trail.glob("*.jsonl*") if path.suffix != TOMBSTONE)
