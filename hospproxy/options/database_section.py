"""The section [audit_database]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from attrs import field, frozen
from attrs.converters import optional

from . import secret_fields
from .fields import SPEC, BadValueError, Metadata, OptionSpec, names, number, path, switch

_TAKES = "postgresql+psycopg://user@host:port/database"


def _read_url(value: Any) -> str:
    """Check the URL. No error message shows it, since it may hold a password."""
    if not isinstance(value, str):
        raise BadValueError(f"expected {_TAKES}")
    if not value:
        return value
    try:
        from .database_url import BadUrlError, parsed
    except ImportError:
        return value  # sink_checks.py says what is missing

    try:
        parsed(value)
    except BadUrlError as error:
        raise BadValueError(f"expected {_TAKES}: {error}") from None
    return value


def _database(doc: str) -> Metadata:
    """The URL of a PostgreSQL database; "" for none."""
    return {SPEC: OptionSpec(doc, _TAKES, "", _read_url)}


@frozen(slots=True, kw_only=True)
class DatabaseSettings:
    """Audit sink: the index that the audit page searches."""

    LIVE: ClassVar = names(
        "url password_file password_env password retention_days connect_timeout_s timeout_s"
    )
    RESTART: ClassVar = names("enabled")

    enabled: bool = field(default=True, metadata=switch("Keep an index of the records."))
    url: str = field(
        default="",
        repr=False,
        metadata=_database(
            "PostgreSQL database, which several machines can share. Default: files in `state_dir`/audit-index."
        ),
    )
    password_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path(
            "File with the password, so that `url` need not contain it. Read for each new connection."
        ),
    )
    password_env: str | None = field(default=None, metadata=secret_fields.variable("password"))
    password: secret_fields.SecretText | None = field(
        default=None, repr=False, metadata=secret_fields.text_of("password")
    )
    retention_days: float = field(
        default=0.0,
        metadata=number(
            "days", 0, 36_600, "Age at which records are no longer found in the index. 0: never."
        ),
    )
    connect_timeout_s: float = field(
        default=5.0,
        metadata=number("seconds", 1, 60, "PostgreSQL only: timeout for connecting."),
    )
    timeout_s: float = field(
        default=30.0,
        metadata=number(
            "seconds",
            1,
            600,
            "Timeout for one search; with PostgreSQL for one statement, and a batch that exceeds it is tried again.",
        ),
    )
