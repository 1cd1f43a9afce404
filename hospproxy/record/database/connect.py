"""How to connect to PostgreSQL, and how to insert rows that may exist."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen
from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql

from ...options.database_section import DatabaseSettings

_SCHEMA_LOCK = 0x686F7370
"""Number of the advisory lock, so that two starting processes do not create the same table."""


_DEFAULTS: Final = DatabaseSettings()


@frozen(slots=True, kw_only=True)
class DatabaseTarget:
    """Which database to use, and how to log in to it.

    :param password_file: read at each connection, so that the password may change.
    :param password: the password itself, if it is in no file.
    :param connect_timeout_s: seconds.
    :param timeout_s: seconds that a statement may take.
    """

    url: URL = field(repr=False)
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
    """An engine with at most one connection, which it makes when it is used."""
    settings = f"-c statement_timeout={round(target.timeout_s * 1000)} -c lock_timeout={round(target.timeout_s * 1000)}"
    if read_only:
        settings += " -c default_transaction_read_only=on"
    engine = create_engine(
        target.url,
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
    connection.execute(text(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"))


def inserting(table: Table) -> postgresql.Insert:
    """An INSERT that has ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    return postgresql.insert(table)


def insert_missing(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows that do not exist yet."""
    if rows:
        connection.execute(inserting(table).on_conflict_do_nothing(), rows)
