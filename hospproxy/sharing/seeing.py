"""Sees what became of the writes of other workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet import task
from twisted.internet.interfaces import IReactorTime

from ..messages import Exchange, Response
from ..outward.ledger.rows import read_answer
from ..outward.ledger.sealing import Unsealable
from ..outward.writes.claims import Known
from ..outward.writes.entries import State
from .claiming import ClaimScripts, number, text
from .kinds import Away, Common

MARGIN_S = 0.3
"""Seconds before its deadline at which whoever waits for another's write is told that it is not known."""
JOINED_S = 5.0
"""Seconds for which one that waits as a retry counts as waiting, if nothing more is heard."""


class Seeing:
    """One worker's view.

    :param random: between 0 and 1.
    :param is_gone: whether the process with this second half of a member's id, one of this machine, is surely dead.
    """

    def __init__(
        self,
        common: Common,
        scripts: ClaimScripts,
        clock: IReactorTime,
        random: Callable[[], float],
        is_gone: Callable[[str], bool],
    ) -> None:
        self._common = common
        self._scripts = scripts
        self._clock = clock
        self._random = random
        self._is_gone = is_gone

    def gone(self, member: str) -> str:
        """The member, if it is one of this machine whose process is surely dead; else nothing."""
        machine, _, owner = member.partition(".")
        mine, _, _ = self._common.member.decode("ascii").partition(".")
        return member if machine == mine and owner and self._is_gone(owner) else ""

    async def known(self, reference: str) -> Known | None:
        """A write; None if there is none of that name, or it cannot be seen at present."""
        try:
            return await self._look(reference, "outcome")
        except Away:
            return None

    async def _look(self, reference: str, how: str) -> Known | None:
        for _ in range(8):
            key = self._common.key("answer", reference.encode())
            found = await self._scripts.find(how, "", reference, wait_s=JOINED_S, answer=key)
            if found[0] != b"join":
                return None if found[0] != b"is" else self._read(reference, found, key)
            # It was taken over.
            reference = text(found[1])
        return None

    def _read(self, reference: str, found: list[Any], key: bytes) -> Known:
        word, record, told, orphan = text(found[1]), text(found[2]), number(found[3]), number(found[4])
        try:
            state = State(word)
        except ValueError:
            raise self._scripts.nonsense() from None
        gone = state is State.OPEN and self.gone(text(found[7])) != ""
        answer = self._opened(found[5], key) if isinstance(found[5], bytes) and found[5] else None
        return Known(
            reference, state, bool(told), bool(orphan) or gone, record or None, answer, text(found[6])
        )

    def _opened(self, sealed: bytes, key: bytes) -> Response | None:
        try:
            return read_answer(self._common.vault.open(sealed, key))
        except (Unsealable, msgspec.MsgspecError, TypeError, ValueError):
            return None

    async def settled(self, reference: str, exchange: Exchange) -> Known | None:
        """Wait until it is settled or an orphan; None: it is gone, or the deadline came first.

        :param exchange: who waits; as long as its client does, no other is its retry.
        """
        while True:
            try:
                found = await self._look(reference, "outcome" if exchange.client_gone else "look")
                if found is None or found.orphan or found.state is not State.OPEN:
                    return found
            except Away:
                pass
            pause = 0.1 + 0.1 * self._random()
            if self._clock.seconds() + pause >= exchange.deadline - MARGIN_S:
                return None
            await task.deferLater(self._clock, pause, lambda: None)
