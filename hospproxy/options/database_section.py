"""The section [audit_database]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import field, frozen
from attrs.converters import optional

from . import secret_fields
from .fields import SPEC, BadValueError, Metadata, Spec, number, path, switch

_TAKES = "postgresql+psycopg://user@host:port/database"


def _read_url(value: Any) -> str:
    """No message shows the value, which may hold a password."""
    from ..record.database.dialects import BadUrlError, parsed  # SQLAlchemy is heavy

    if not isinstance(value, str):
        raise BadValueError(f"expected {_TAKES}")
    try:
        if value:
            parsed(value)
    except BadUrlError as error:
        raise BadValueError(f"expected {_TAKES}: {error}") from None
    return value


def _database(doc: str) -> Metadata:
    """A PostgreSQL database."""
    return {SPEC: Spec(doc, _TAKES, "", _read_url)}


@frozen(slots=True, kw_only=True)
class DatabaseSettings:
    """The trail in a database, where the audit page looks."""

    enabled: bool = field(default=True, metadata=switch("Whether records are carried into a database."))
    url: str = field(
        default="",
        repr=False,
        metadata=_database(
            "PostgreSQL, for several machines together. Default: SQLite, `state_dir`/audit-index/audit.sqlite."
        ),
    )
    password_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("Holds the password for `url`, which need not name it. It is read at each connection."),
    )
    password_env: str | None = field(
        default=None,
        metadata=secret_fields.variable("Variable of the environment that holds it, instead of the file."),
    )
    password: secret_fields.Text | None = field(
        default=None, repr=False, metadata=secret_fields.text("The secret itself, instead of the file.")
    )
    retention_days: float = field(
        default=0.0,
        metadata=number("days", 0, 36_600, "Rows that are older are deleted, a few at a time; 0: none."),
    )
    connect_timeout_s: float = field(
        default=5.0,
        metadata=number(
            "seconds", 1, 60, "How long a connection may take (SQLite: how long to wait for its lock)."
        ),
    )
    timeout_s: float = field(
        default=30.0,
        metadata=number("seconds", 1, 600, "PostgreSQL: what takes longer is given up, and tried again."),
    )
