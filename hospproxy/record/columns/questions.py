"""What is asked of the process that has the index, and what it answers, as frames on two pipes. Pure.

A frame is a length of four bytes and a MessagePack value.
"""

from __future__ import annotations

import struct
from typing import Final, Literal, TypeVar

import msgspec

from ..search.filters import Filters
from ..search.rows import IndexRow, RowKey, RowName, RowPage, Summary
from ..trail.scan import record_of

T = TypeVar("T")

LENGTH: Final = struct.Struct(">I")
MOST_BYTES: Final = 256 << 20
"""Longest frame in bytes: a page of ten disclosure records, or of 500 long lines, takes far less."""


UPKEEP_S: Final = 840.0
"""Seconds for one "upkeep", less than a carrier waits. What is finished by then counts, and the next one goes on."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """The first frame: which index, and its bounds.

    :param folder: of the index.
    :param directory: of the records.
    :param timeout_s: seconds that a search may take.
    :param keep_s: age at which rows are left out, in seconds; 0 for never.
    :param nice: added to the priority of the process.
    """

    folder: str
    directory: str
    timeout_s: float
    keep_s: float = 0.0
    nice: int = 0


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question; ``what`` says which of the others it needs. ``ColumnIndex`` explains them."""

    what: Literal["page", "row", "members", "summary", "upkeep"]
    filters: Filters | None = None
    after: RowKey | None = None
    limit: int = 0
    name: RowName | None = None
    disclosed: str = ""
    most: int = 0
    since: float = 0.0


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row; its record is in the line."""

    key: RowKey
    line: bytes
    by_list: bool

    def index_row(self) -> IndexRow:
        """The row as searches return it."""
        return IndexRow(self.key, record_of(self.line), self.line, self.by_list)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one question; only the fields of its kind are filled.

    :param problem: why there is none: the index is "not yet" built, or has "failed"; ``words`` says more.
    :param records: that were added by an "upkeep".
    :param mended: segments that were damaged.
    :param troubles: what could not be read; one line each.
    """

    rows: list[Row] = []
    more_after: RowKey | None = None
    members: list[str] | None = None
    requests: int = 0
    login_failures: list[tuple[str, int]] = []
    refusals: list[tuple[str, int]] = []
    newest: float | None = None
    problem: Literal["", "not yet", "failed"] = ""
    words: str = ""
    records: int = 0
    mended: int = 0
    troubles: list[str] = []

    def page(self) -> RowPage:
        """Read the answer to a question "page"."""
        return RowPage(tuple(row.index_row() for row in self.rows), self.more_after)

    def summary(self) -> Summary:
        """Read the answer to a question "summary"."""
        return Summary(
            requests=self.requests,
            login_failures=tuple(self.login_failures),
            refusals=tuple(self.refusals),
            alerts=tuple(row.index_row() for row in self.rows),
            newest=self.newest,
        )


def rows_of(rows: tuple[IndexRow, ...]) -> list[Row]:
    """Rows in the form in which they are sent."""
    return [Row(key=row.key, line=row.line, by_list=row.by_list) for row in rows]


def framed(value: msgspec.Struct) -> bytes:
    """Encode a value as one frame: its length, then MessagePack."""
    content = msgspec.msgpack.encode(value)
    return LENGTH.pack(len(content)) + content


def unframed(content: bytes, of: type[T]) -> T:
    """The value of a frame's content.

    :raise msgspec.DecodeError: it is not of this type.
    """
    return msgspec.msgpack.decode(content, type=of)
