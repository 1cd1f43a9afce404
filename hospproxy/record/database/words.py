"""Texts and their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from sqlalchemy import Connection, select

from .dialects import insert_missing
from .schema import WORDS

T = TypeVar("T")
AT_ONCE = 400
"""Values in one statement: they are bound one by one."""


def in_parts(values: Sequence[T], size: int = AT_ONCE) -> Iterator[Sequence[T]]:
    """As many as a statement takes."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def numbers_of(connection: Connection, texts: Iterable[str]) -> dict[str, int]:
    """The numbers of those that are known."""
    found: dict[str, int] = {}
    for part in in_parts(sorted(set(texts))):
        rows = connection.execute(select(WORDS.c.text, WORDS.c.word_no).where(WORDS.c.text.in_(part)))
        found.update((row.text, row.word_no) for row in rows)
    return found


class Dictionary:
    """Numbers that were committed, to be had without asking.

    :param most: texts that are remembered.
    """

    def __init__(self, most: int = 50_000) -> None:
        self._most = most
        self._known: dict[str, int] = {}

    def numbers(self, connection: Connection, texts: Iterable[str]) -> dict[str, int]:
        """The numbers of texts, new ones given. Not remembered until ``commit``: a transaction may be rolled back."""
        wanted = set(texts)
        known = {text: number for text in wanted if (number := self._known.get(text)) is not None}
        if missing := sorted(wanted - known.keys()):
            known.update(numbers_of(connection, missing))
        # In order, so that two processes never wait for each other's words.
        if new := [text for text in missing if text not in known]:
            insert_missing(connection, WORDS, [{"text": text} for text in new])
            known.update(numbers_of(connection, new))
        return known

    def commit(self, numbers: Mapping[str, int]) -> None:
        """They are in the database for good."""
        if len(self._known) + len(numbers) > self._most:
            self._known.clear()
        self._known.update(numbers)
