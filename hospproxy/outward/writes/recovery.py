"""Takes over the writes of earlier processes at the start. Until that is done, new writes wait."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ...exchange.exchange import Identified
from ...http.errors import ProxyError
from .claims import Claims
from .entries import WriteEntries
from .entry import WriteEntry
from .kept_turns import WriteTurns
from .ledger_entries import LedgerEntries
from .seen_ids import SeenIds, id_of

_log = Logger()


class Recovery:
    """Reads the ledger once. Writes that arrive earlier wait, because each may be the retry of a write in it.

    :param window_s: seconds for which an equal write counts as the retry of one whose client got no response.
    """

    def __init__(
        self,
        clock: IReactorTime,
        entries: WriteEntries,
        keeping: LedgerEntries,
        sightings: SeenIds,
        claims: Claims,
        turns: WriteTurns,
        *,
        window_s: float,
    ) -> None:
        self._clock = clock
        self._waiting: dict[Deferred[None], None] | None = {}
        self._entries = entries
        self._keeping = keeping
        self._sightings = sightings
        self._claims = claims
        self._turns = turns
        self._window_s = window_s

    async def wait(self, exchange: Identified) -> None:
        """Wait until earlier writes are known; returns at once if they are.

        :raise ProxyError: 503: they are not known by the deadline. Nothing was sent.
        """
        if self._waiting is None:
            return
        recovered: Deferred[None] = Deferred()
        self._waiting[recovered] = None
        try:
            await recovered.addTimeout(max(0.0, exchange.deadline - self._clock.seconds()), self._clock)
        except TimeoutError:
            raise ProxyError(
                "The proxy is still recovering earlier writes, so nothing was sent.",
                status=503,
                retry_after_s=5,
            ) from None
        finally:
            if self._waiting is not None:
                self._waiting.pop(recovered, None)

    def over(self) -> None:
        """Recovery is done: let the waiting writes go on."""
        waiting, self._waiting = self._waiting or {}, None
        for recovered in waiting:
            recovered.callback(None)

    async def take_over(self, go_on_finding: Callable[[WriteEntry], None]) -> list[Identified]:
        """Take over what is open, and remember what clients may ask for again.

        :param go_on_finding: starts to find out the outcome of an open write.
        :return: screenings whose notes must still be delivered.
        """
        screenings = []
        for resource, number in await self._keeping.sequences():
            self._sightings.made(resource, number)
        await self._turns.recover()
        taken = await self._keeping.take_over()
        for entry in await self._keeping.undelivered(self._window_s):  # they began before the open ones
            self._entries.resume(entry)
        for entry, kind in taken:
            if kind == "screening":
                screenings.append(entry.exchange)
            else:
                self._entries.resume(entry)
                self._claims.adopt(entry)
                await self._remember_others(entry)
        for entry, kind in taken:
            # Only once all are known: a look for one shows records that may belong to another.
            if kind != "screening":
                go_on_finding(entry)
        if taken:
            _log.info("ledger: took over {count} entries of earlier processes", count=len(taken))
        return screenings

    async def _remember_others(self, entry: WriteEntry) -> None:
        """Restore what an earlier process knew about records that cannot be this entry's."""
        resource = entry.call.operation.resource
        if resource is None:
            return
        if entry.call.operation.lookup is not None:
            self._sightings.resume(resource, entry.reference, entry.sequence)
        for kind, number, reference in await self._keeping.later_records(entry):
            if kind == "create":
                self._sightings.claim(resource, id_of(number), reference)
            else:
                self._sightings.touch(entry.call.operation, number)
