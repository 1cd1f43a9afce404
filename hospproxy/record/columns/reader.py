"""Answers the audit page from the index in columns. See ITrailReader."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ...interfaces import ITrailReader
from ..search.filters import Filters
from ..search.rows import IndexRow, NoIndexYet, RowKey, RowName, RowPage, Summary
from .asker import Asker
from .questions import UPKEEP_S, Answer, Question

EXPORT_ROWS = 500


@implementer(ITrailReader)
@define(eq=False)
class ColumnReader:
    """Answers ITrailReader's searches.

    :param pages: for the audit page.
    :param exports: another one, so that an export does not delay pages.
    """

    _pages: Asker
    _exports: Asker
    _building: bool = field(default=False, init=False)

    async def page(self, filters: Filters, after: RowKey | None, limit: int) -> RowPage:
        """Return one page of rows; see ITrailReader.

        :raise IndexAway: the index does not answer.
        """
        question = Question(what="page", filters=filters, after=after, limit=limit)
        return (await self._ask(question)).page()

    async def row(self, name: RowName) -> IndexRow | None:
        """Return one row by its name; see ITrailReader.

        :raise IndexAway: the index does not answer.
        """
        answer = await self._ask(Question(what="row", name=name))
        return answer.rows[0].index_row() if answer.rows else None

    async def rows(self, filters: Filters) -> AsyncIterator[IndexRow]:
        """See ITrailReader. Each part is a search of its own; rows added in the meantime are not included.

        :raise IndexAway: the index does not answer.
        """
        after: RowKey | None = None
        while True:
            question = Question(what="page", filters=filters, after=after, limit=EXPORT_ROWS)
            page = (await self._exports.ask(question)).page()
            for row in page.rows:
                yield row
            after = page.more_after
            if after is None:
                return

    async def members(self, disclosed: str, most: int) -> Sequence[str] | None:
        """Return the patients of a disclosed list, as ``ITrailReader`` wants.

        :raise IndexAway: the index does not answer.
        """
        return (await self._exports.ask(Question(what="members", disclosed=disclosed, most=most))).members

    async def summary(self, since: float) -> Summary:
        """Return counts and alerts since a time, as ``ITrailReader`` wants.

        :raise IndexAway: the index does not answer.
        """
        return (await self._ask(Question(what="summary", since=since))).summary()

    async def close(self) -> None:
        """Abort what is in flight, and end both processes."""
        await self._pages.close()
        await self._exports.close()

    async def _ask(self, question: Question) -> Answer:
        try:
            return await self._pages.ask(question)
        except NoIndexYet:
            self._build()
            raise

    def _build(self) -> None:
        """Have the index made, if nobody does: the sink begins only when it gets a file."""
        if self._building:
            return
        self._building = True

        def built(_result: object) -> None:  # a failure is the next page's failure
            self._building = False

        Deferred.fromCoroutine(self._exports.ask(Question(what="upkeep"), UPKEEP_S)).addBoth(built)
