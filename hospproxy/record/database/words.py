"""Stores texts once and refers to them by number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from sqlalchemy import Connection, select

from .connect import insert_missing
from .schema import WORDS

T = TypeVar("T")
AT_ONCE = 400
"""Values in one statement, since each is bound separately."""


def in_parts(values: Sequence[T], size: int = AT_ONCE) -> Iterator[Sequence[T]]:
    """Split values into parts that fit one statement."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def numbers_of(connection: Connection, texts: Iterable[str]) -> dict[str, int]:
    """The numbers of the texts that the database knows."""
    found: dict[str, int] = {}
    for part in in_parts(sorted(set(texts))):
        rows = connection.execute(select(WORDS.c.text, WORDS.c.word_no).where(WORDS.c.text.in_(part)))
        found.update((row.text, row.word_no) for row in rows)
    return found


class WordNumbers:
    """Remembers committed numbers, to save queries.

    :param most: texts that are remembered.
    """

    def __init__(self, most: int = 50_000) -> None:
        self._most = most
        self._known: dict[str, int] = {}

    def numbers(self, connection: Connection, texts: Iterable[str]) -> dict[str, int]:
        """The numbers of texts; a new text gets one.

        Call ``commit`` once the transaction is committed, to remember them: it may still be rolled back.
        """
        wanted = set(texts)
        known = {text: number for text in wanted if (number := self._known.get(text)) is not None}
        if missing := sorted(wanted - known.keys()):
            known.update(numbers_of(connection, missing))
        # Sorted, so that two processes inserting the same words cannot deadlock.
        if new := [text for text in missing if text not in known]:
            insert_missing(connection, WORDS, [{"text": text} for text in new])
            known.update(numbers_of(connection, new))
        return known

    def commit(self, numbers: Mapping[str, int]) -> None:
        """Remember numbers whose transaction was committed."""
        if len(self._known) + len(numbers) > self._most:
            self._known.clear()
        self._known.update(numbers)
