"""Reads the trail from PostgreSQL, in the calling thread: a command has nothing else to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from ...options.database_url import BadUrlError, parsed
from ..database.access import words_of
from ..database.connect import DatabaseTarget, engine_for
from ..database.reader import members, page
from ..export.fhir import MOST_PATIENTS
from ..search.filters import Filters
from ..search.rows import IndexRow, RowKey
from .sources import SourceError

_ROWS = 500


@define
class IndexSource:
    """A database as a source of rows."""

    _engine: Engine
    folder: Path | None = None
    troubles: int = 0
    _sets: dict[str, Sequence[str] | None] = field(factory=dict, init=False)

    def rows(self, filters: Filters) -> Iterator[IndexRow]:
        """All matching rows, newest first. Each part is a transaction of its own, so that none lasts long."""
        after: RowKey | None = None
        while True:
            with self._transaction() as connection:
                part = page(connection, filters, after, _ROWS)
            yield from part.rows
            after = part.more_after
            if after is None:
                return

    def members(self, disclosed: str) -> Sequence[str] | None:
        """The patients of a set; None if there are more than an export names one by one."""
        if disclosed not in self._sets:
            self._sets.pop(next(iter(self._sets))) if len(self._sets) > 1000 else None
            with self._transaction() as connection:
                self._sets[disclosed] = members(connection, disclosed, MOST_PATIENTS)
        return self._sets[disclosed]

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection, connection.begin():
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise SourceError(f"the database: {words_of(error)}") from None


def database_of(text: str, password_file: Path | None) -> IndexSource:
    """Open a PostgreSQL database by its URL.

    :raise SourceError: the text is no such URL.
    """
    try:
        target = DatabaseTarget(url=parsed(text), password_file=password_file)
        return IndexSource(engine_for(target, read_only=True))
    except BadUrlError as error:
        raise SourceError(str(error)) from None
    except ImportError:
        raise SourceError(
            "PostgreSQL needs the package psycopg: pip install 'hospproxy[postgresql]'"
        ) from None
