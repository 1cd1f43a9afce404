"""The tables. docs/writers.md shows them to whoever wants to query them.

A record is two rows: in ``lines`` as it stands in the journal, and in ``records`` by what people ask for. The latter is
narrow and in the order of time; texts stand in it as numbers (``words``), and every index of it ends with that
order, so that the newest rows of any value are the first in its index.
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

LOGIN_FAILURE, OTHER_TROUBLE = 1, 2
"""``records.trouble``."""
HIDDEN, SHOWN, OWN = 0, 1, 2
"""``records.shown``."""

# SQLite makes only an INTEGER the row's own number.
_Number = BigInteger().with_variant(Integer, "sqlite")

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
    Column("word_no", _Number, primary_key=True),
    Column("text", Text, nullable=False, unique=True),
)
LINES = Table(
    "lines",
    METADATA,
    Column("id", _Number, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
    Column("line", LargeBinary, nullable=False),
)
SETS = Table(
    "sets",
    METADATA,
    Column("set_no", _Number, primary_key=True),
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
    sqlite_with_rowid=False,
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
"""Texts of a record that stand in ``words``; the column is called so with ``_no`` after it. The kind is another."""

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
    sqlite_with_rowid=False,
)


def _index(name: str, column: str | None) -> Index:
    """By one column, then by time; only rows that have a value."""
    columns = RECORDS.c
    there = columns[column or "set_no"].is_not(None)
    ordered = (columns.time_ms, columns.id)
    by = (columns[column], *ordered) if column else ordered
    return Index(name, *by, sqlite_where=there, postgresql_where=there)


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
    """A record's number: its chain's, and its place there.

    :raise ValueError: the place is beyond what fits.
    """
    if not 0 < seq <= MOST_SEQ:
        raise ValueError(f"a database cannot number record {seq}")
    return chain_no << _SEQ_BITS | seq


def place_of(number: int) -> tuple[int, int]:
    """Chain and seq of a record's number."""
    return number >> _SEQ_BITS, number & MOST_SEQ
