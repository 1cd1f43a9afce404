"""For writers that want some kinds of records only."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve, field, frozen
from zope.interface import implementer

from ...interfaces import IAuditWriter
from ..trail.following import Batch
from ..trail.scan import record_of


def _frozen(kinds: Iterable[str]) -> frozenset[str]:
    return frozenset(kinds)


@implementer(IAuditWriter)
@frozen(slots=True)
class OnlyKinds:
    """Hands on what is of these kinds; the position advances over the rest.

    The records of a batch need not follow one another then: ``first_seq`` says nothing, each line's own ``seq`` does.

    :param writer: gets the rest of each batch, and no empty one.
    :param kinds: of records ("alert", …).
    """

    writer: IAuditWriter
    kinds: frozenset[str] = field(converter=_frozen)

    @property
    def name(self) -> str:
        """The writer's."""
        return self.writer.name

    async def open(self) -> None:
        await self.writer.open()

    async def write(self, batch: Batch) -> None:
        lines = tuple(line for line in batch.lines if self._wanted(line))
        if lines:
            await self.writer.write(evolve(batch, lines=lines))

    async def close(self) -> None:
        await self.writer.close()

    def _wanted(self, line: bytes) -> bool:
        # Most records are of other kinds: they are not worth taking apart.
        return any(kind.encode() in line for kind in self.kinds) and record_of(line).get("kind") in self.kinds
