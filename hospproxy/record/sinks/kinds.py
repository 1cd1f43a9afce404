"""Limits a sink to some kinds of records."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve, field, frozen
from zope.interface import implementer

from ...interfaces import IAuditWriter
from ..trail.follower import Batch
from ..trail.scan import record_of


def _frozen(kinds: Iterable[str]) -> frozenset[str]:
    return frozenset(kinds)


@implementer(IAuditWriter)
@frozen(slots=True)
class OnlyKinds:
    """Passes on records of these kinds only; the position advances over all others.

    The records of a batch are then no longer consecutive: ignore ``first_seq`` and read each line's own
    ``seq``.

    :param writer: the sink that gets the remaining lines of each batch, never an empty batch.
    :param kinds: of records ("alert", …).
    """

    writer: IAuditWriter
    kinds: frozenset[str] = field(converter=_frozen)

    @property
    def name(self) -> str:
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
        # Most records are of other kinds, so look for the word before parsing the line.
        return any(kind.encode() in line for kind in self.kinds) and record_of(line).get("kind") in self.kinds
