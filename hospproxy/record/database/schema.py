"""The tables. docs/writers.md documents them for people who query them.

A record is two rows: in ``lines`` as in the journal, and in ``records`` by the values that people search for.
``records`` is narrow and ordered by time. Its texts are stored as numbers (``words``), and each of its indexes
ends with the time order, so the newest rows of any value are first in that value's index.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

VERSION = "1"
METADATA = MetaData()
_SEQ_BITS = 40
MOST_SEQ = (1 << _SEQ_BITS) - 1

ABOUT = Table(
    "about", METADATA, Column("name", Text, primary_key=True), Column("value", Text, nullable=False)
)

CHAINS = Table(
    "chains",
    METADATA,
    Column("chain_no", Integer, primary_key=True),
    Column("trail", Text, nullable=False),
    Column("journal", Text, nullable=False),
    UniqueConstraint("trail", "journal"),
)
HEADS = Table(
    "heads",
    METADATA,
    Column("chain_no", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("head", Text, nullable=False),
    Column("time_ms", BigInteger, nullable=False),
)
WORDS = Table(
    "words",
    METADATA,
    Column("word_no", BigInteger, primary_key=True),
    Column("text", Text, nullable=False, unique=True),
)
LINES = Table(
    "lines",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
    Column("line", LargeBinary, nullable=False),
)
SETS = Table(
    "sets",
    METADATA,
    Column("set_no", BigInteger, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
)
MEMBERS = Table(
    "members",
    METADATA,
    Column("patient_no", BigInteger, primary_key=True, autoincrement=False),
    Column("set_no", BigInteger, primary_key=True, autoincrement=False),
    Index("members_by_set", "set_no"),
)
HOURS = Table(
    "hours",
    METADATA,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("requests", BigInteger, nullable=False),
)

WORD_COLUMNS = (
    "staff", "name", "patient", "action", "outcome", "route", "resource", "record", "address",
)  # fmt: skip
"""Texts of a record that are stored in ``words``; the column's name adds ``_no``. The kind is stored so too."""

RECORDS = Table(
    "records",
    METADATA,
    Column("time_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("shown", SmallInteger, nullable=False),
    Column("kind_no", BigInteger, nullable=False),
    *(Column(f"{name}_no", BigInteger) for name in WORD_COLUMNS),
    Column("set_no", BigInteger),
    Column("status", SmallInteger),
    Column("trouble", SmallInteger),
    Column("request_id", Text),
    Column("for_request", Text),
)


def _index(name: str, column: str | None) -> Index:
    """An index by one column, then by time, over rows that have a value."""
    columns = RECORDS.c
    there = columns[column or "set_no"].is_not(None)
    ordered = (columns.time_ms, columns.id)
    by = (columns[column], *ordered) if column else ordered
    return Index(name, *by, postgresql_where=there)


INDEXES = (
    *(
        _index(f"records_by_{name.removesuffix('_no')}", name)
        for name in (
            *(f"{name}_no" for name in WORD_COLUMNS),
            "set_no", "status", "trouble", "request_id", "for_request",
        )
    ),
    _index("records_that_list", None),
    Index("records_by_kind", RECORDS.c.kind_no, RECORDS.c.time_ms, RECORDS.c.id),
)  # fmt: skip


def id_of(chain_no: int, seq: int) -> int:
    """A record's id, made of its chain's number and its seq.

    :raise ValueError: the seq is too large.
    """
    if not 0 < seq <= MOST_SEQ:
        raise ValueError(f"record number {seq} is out of the database's range")
    return chain_no << _SEQ_BITS | seq


def place_of(number: int) -> tuple[int, int]:
    """The chain's number and the seq of a record's id."""
    return number >> _SEQ_BITS, number & MOST_SEQ
