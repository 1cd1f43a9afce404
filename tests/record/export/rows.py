"""Rows for tests of exports, and the iterator that yields them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from hypothesis import strategies as st

from hospproxy.record.search.rows import IndexRow, RowKey, RowName
from hospproxy.record.trail.record_line import encode_record

HOSTILE = [
    "=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "＝1+1", "＋1", "－1", "＠1", "  =1", "a;=1", "a; +1", "-", "−1",
    "a\r\n=1", 'say "=1"', "\u202egnp.exe", "\u200b=1", "\ufeff=1", "\x1b[31mred", "\x00", "\ud800", "\u2028=1",
    "\xa0=1", "<script>", "naïve", "名前", "-7", "-7.5", "7", "'=1", "\u3164", "%2e", ",", "|cmd", "\U000e0041",
]  # fmt: skip
"""Texts that a user may type as a name."""

texts = st.text(max_size=12) | st.sampled_from(HOSTILE)


def row(record: dict[str, Any], seq: int = 1, *, trail: str = "ward", by_list: bool = False) -> IndexRow:
    return IndexRow(RowKey(0, RowName(trail, "w0", seq)), record, encode_record(record), by_list)


class Rows:
    """An iterator that knows whether it was closed."""

    def __init__(self, rows: Iterable[IndexRow]) -> None:
        self.rows = list(rows)
        self.asked = 0
        self.closed = False

    async def iterate(self) -> AsyncIterator[IndexRow]:
        try:
            for each in self.rows:
                self.asked += 1
                yield each
        finally:
            self.closed = True


def collected(pieces: AsyncIterator[bytes]) -> list[bytes]:
    """All pieces; no test source waits."""

    async def collect() -> list[bytes]:
        return [piece async for piece in pieces]

    return asyncio.run(collect())
