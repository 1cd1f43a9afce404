"""Parse the URL of the PostgreSQL database that the audit page searches."""

from __future__ import annotations

from sqlalchemy import URL, make_url
from sqlalchemy.exc import SQLAlchemyError


class BadUrlError(ValueError):
    """A database URL that can never work. The message holds no password."""


def parsed(url: str) -> URL:
    """Parse the URL of a PostgreSQL database.

    :raise BadUrlError: it is not one.
    """
    try:
        found = make_url(url)
    except (SQLAlchemyError, ValueError):
        raise BadUrlError(
            "it is not a database URL such as postgresql+psycopg://user@host:5432/name"
        ) from None
    if found.drivername not in ("postgresql", "postgresql+psycopg"):
        raise BadUrlError(f"the scheme {found.drivername} is not supported; use postgresql+psycopg")
    if not found.database:
        raise BadUrlError("it does not name a database")
    return found.set(drivername="postgresql+psycopg")
