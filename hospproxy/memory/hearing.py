"""What other workers have written, as far as it touches what is remembered here."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from ..sharing.news import Account, Everything, News, Refused, Struck
from .memory import Memory
from .staleness import ACCOUNTS, PUBLIC
from .store import Mark


class NotLasting(Exception):
    """What was revoked could not be taken back on disk."""


class Hearing:
    """A listener (``Sharing.listen``).

    :param forget: told which record another worker has changed: its resource and id.
    :param doubt_all: told that it may be any.
    """

    def __init__(
        self,
        memory: Memory,
        forget: Callable[[str | None, str | None], object] = lambda _resource, _record: None,
        doubt_all: Callable[[], object] = lambda: None,
    ) -> None:
        self._memory = memory
        self._forget = forget
        self._doubt_all = doubt_all

    def heard(self, news: News) -> Deferred[None] | None:
        """Drop what is stale by it; what it revokes or hides is on disk when the Deferred fires.

        :raise NotLasting: in the Deferred: it is not, and has to be told again.
        """
        memory = self._memory
        match news:
            case Struck():
                self._struck(news)
                return self._settled(must=False) if news.hidden_from else None
            case Account():
                memory.accounts.elsewhere(news.reference, news.staff_id, news.doubt_s)
                return self._settled(must=True)
            case Refused():
                memory.accounts.refused_elsewhere(news.credentials)
                return self._settled(must=True)
            case Everything():
                self._strike((ACCOUNTS, PUBLIC))
                memory.accounts.anything()
                memory.let_in()
                self._doubt_all()
                return self._settled(must=True)
            case _:
                return None

    def missed(self) -> None:
        """Others have said what will never be heard here: who was revoked, and who must not read again what was before
        his own write, is not known. What was kept for an outage must not be given to these."""
        memory = self._memory
        for tag in (ACCOUNTS, PUBLIC):
            memory.store.drop_tag(tag)
        memory.accounts.no_grace()
        memory.keeper.forget_all()

    def _struck(self, news: Struck) -> None:
        memory = self._memory
        self._strike(news.tags)
        for tag in news.tags:
            for key, _, tags, _ in memory.store.tagged(tag):
                if not set(news.hidden_from).isdisjoint(tags):
                    memory.store.mark(key, Mark.HIDDEN)
            for owner in news.hidden_from:
                memory.keeper.mark(tag, Mark.HIDDEN, owner)
        if news.lets_in:
            memory.let_in()
        self._forget(news.resource, news.record)

    def _strike(self, tags: tuple[str, ...]) -> None:
        memory = self._memory
        for tag in tags:
            memory.store.mark_tag(tag, Mark.STRUCK)
            memory.keeper.mark(tag, Mark.STRUCK)
        memory.fills.doom(tags)

    def _settled(self, *, must: bool) -> Deferred[None]:
        async def settled() -> None:
            if not await self._memory.keeper.settled() and must:
                raise NotLasting

        return Deferred.fromCoroutine(settled())
