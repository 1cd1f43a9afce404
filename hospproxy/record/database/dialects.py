"""What differs between SQLite and PostgreSQL: how to connect, and how to insert rows that may exist."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from attrs import field, frozen
from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects import sqlite

from ...options.database_section import DatabaseSettings

_SCHEMA_LOCK = 0x686F7370
"""Number of PostgreSQL's advisory lock, so that two starting processes do not create the same table."""

_MOST_VALUES = 32_000
"""Values in one SQLite statement; SQLite allows 32,766 (since 3.32)."""


_DEFAULTS: Final = DatabaseSettings()


@frozen(slots=True, kw_only=True)
class DatabaseTarget:
    """Which database to use, and how to log in to it.

    :param url: of PostgreSQL; None for SQLite.
    :param file: of SQLite.
    :param password_file: read at each connection, so that the password may change.
    :param password: the password itself, if it is in no file.
    :param connect_timeout_s: seconds.
    :param timeout_s: seconds that a statement may take.
    """

    url: URL | None = field(default=None, repr=False)
    file: Path = Path()
    password_file: Path | None = None
    password: bytes | None = field(default=None, repr=False)
    connect_timeout_s: float = _DEFAULTS.connect_timeout_s
    timeout_s: float = _DEFAULTS.timeout_s

    def read_password(self) -> str:
        """Read the password as it is now; empty if there is none.

        :raise OSError: its file cannot be read.
        """
        if self.password is not None:
            return self.password.decode()
        return self.password_file.read_text().rstrip("\r\n") if self.password_file is not None else ""


def engine_for(target: DatabaseTarget, *, read_only: bool) -> Engine:
    """An engine with at most one connection.

    It connects only when used, and then makes SQLite's folder and file.
    """
    if target.url is not None:
        return _postgresql(target, target.url, read_only=read_only)
    return _sqlite(target, read_only=read_only)


def _sqlite(target: DatabaseTarget, *, read_only: bool) -> Engine:
    def connect() -> sqlite3.Connection:
        return _open_file(target, read_only=read_only)

    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=_one_connection(),
        pool_size=1,
        max_overflow=0,
        hide_parameters=True,
    )

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # Lock at once: a transaction that reads and then writes could find that another process wrote in
        # between.
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _one_connection() -> Any:
    from sqlalchemy.pool import QueuePool

    return QueuePool


def _open_file(target: DatabaseTarget, *, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rwc"
    if not read_only:
        target.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(target.file, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(
        f"file:{quote(str(target.file))}?mode={mode}",
        uri=True,
        timeout=target.connect_timeout_s,
        isolation_level=None,  # the "begin" event of SQLAlchemy starts transactions
        check_same_thread=False,
    )
    try:
        if not read_only:
            # FULL: a committed transaction survives a power cut. The carrier saves its position right after the
            # commit.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -65536")
        connection.execute("PRAGMA mmap_size = 268435456")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _postgresql(target: DatabaseTarget, url: URL, *, read_only: bool) -> Engine:
    settings = f"-c statement_timeout={round(target.timeout_s * 1000)} -c lock_timeout={round(target.timeout_s * 1000)}"
    if read_only:
        settings += " -c default_transaction_read_only=on"
    engine = create_engine(
        url,
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": max(1, round(target.connect_timeout_s)),
            "options": settings,
            "application_name": "hospproxy",
            "keepalives_idle": 30,
            "tcp_user_timeout": round(target.timeout_s * 1000),
        },
    )
    if target.password_file is not None or target.password is not None:

        @event.listens_for(engine, "do_connect")
        def _password(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
            parameters["password"] = target.read_password()

    return engine


def lock_schema(connection: Connection) -> None:
    """Let only one process create tables until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"))


def inserting(connection: Connection, table: Table) -> Any:
    """An INSERT that has ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # not needed beside SQLite, and slow to import

        return postgresql.insert(table)
    return sqlite.insert(table)


def insert_missing(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows that do not exist yet."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        _insert_at_once(connection, table, rows)
    else:
        connection.execute(inserting(connection, table).on_conflict_do_nothing(), rows)


def _insert_at_once(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert many rows with one statement.

    Each statement releases the interpreter's lock, and must get it back beside a busy reactor.
    """
    names = list(rows[0])
    row_of = f"({','.join('?' * len(names))})"
    most = _MOST_VALUES // len(names)
    for start in range(0, len(rows), most):
        part = rows[start : start + most]
        statement = (
            f"INSERT INTO {table.name} ({','.join(names)}) VALUES {','.join([row_of] * len(part))}"  # noqa: S608
            " ON CONFLICT DO NOTHING"
        )
        connection.exec_driver_sql(statement, tuple(row[name] for row in part for name in names))
