"""Looks up the outcomes of other workers' writes in Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet import task
from twisted.internet.interfaces import IReactorTime

from ....exchange.exchange import Identified
from ....http.messages import Response
from ....keys.encryption import Unsealable
from ....sharing.kinds import Away, RedisScripts
from ...ledger.rows import read_answer
from ..claims import KnownWrite
from ..entry import WriteState
from .claim_scripts import ClaimScripts, number, text

MARGIN_S = 0.3
"""Seconds before its deadline at which a request stops waiting for another worker's write."""
JOINED_S = 5.0
"""Seconds for which a request that waits as a retry counts as waiting after its last lookup."""


class OutcomeLookup:
    """One worker's view of the others' writes.

    :param random: returns a number between 0 and 1.
    :param is_gone: whether a process of this machine, named by the second half of its member id, is surely dead.
    """

    def __init__(
        self,
        common: RedisScripts,
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
        """Return the member's id if its process ran on this machine and is surely dead; else ``""``."""
        machine, _, owner = member.partition(".")
        mine, _, _ = self._common.member.decode("ascii").partition(".")
        return member if machine == mine and owner and self._is_gone(owner) else ""

    async def known(self, reference: str) -> KnownWrite | None:
        """Look up a write; None if Redis does not know it, or is away."""
        try:
            return await self._look(reference, "outcome")
        except Away:
            return None

    async def _look(self, reference: str, how: str) -> KnownWrite | None:
        for _ in range(8):
            key = self._common.key("answer", reference.encode())
            found = await self._scripts.find(how, "", reference, wait_s=JOINED_S, answer=key)
            if found[0] != b"join":
                return None if found[0] != b"is" else self._read(reference, found, key)
            # Another write has taken this one over: follow it.
            reference = text(found[1])
        return None

    def _read(self, reference: str, found: list[Any], key: bytes) -> KnownWrite:
        word, record, told, orphan = text(found[1]), text(found[2]), number(found[3]), number(found[4])
        try:
            state = WriteState(word)
        except ValueError:
            raise self._scripts.nonsense() from None
        gone = state is WriteState.OPEN and self.gone(text(found[7])) != ""
        answer = self._opened(found[5], key) if isinstance(found[5], bytes) and found[5] else None
        return KnownWrite(
            reference, state, bool(told), bool(orphan) or gone, record or None, answer, text(found[6])
        )

    def _opened(self, sealed: bytes, key: bytes) -> Response | None:
        try:
            return read_answer(self._common.vault.open(sealed, key))
        except (Unsealable, msgspec.MsgspecError, TypeError, ValueError):
            return None

    async def settled(self, reference: str, exchange: Identified) -> KnownWrite | None:
        """Wait until a write is settled or orphaned; None if it is gone, or the deadline is too near.

        :param exchange: the waiting request; while its client waits, no other request counts as the retry.
        """
        while True:
            try:
                found = await self._look(reference, "outcome" if exchange.presence.gone else "look")
                if found is None or found.orphan or found.state is not WriteState.OPEN:
                    return found
            except Away:
                pass
            pause = 0.1 + 0.1 * self._random()
            if self._clock.seconds() + pause >= exchange.deadline - MARGIN_S:
                return None
            await task.deferLater(self._clock, pause, lambda: None)
