"""Applies what other workers have written to what is stored here."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from ..sharing.news import AccountChange, CredentialsRefused, EntriesInvalidated, EverythingStale, News
from ..sharing.tags import ACCOUNTS, PUBLIC
from .memory import Memory
from .store import EntryMark


class RevocationNotStored(Exception):
    """What was revoked could not be deleted on disk."""


class RemoteInvalidation:
    """A listener for the news of other workers (``Sharing.listen``).

    :param forget: called with the resource and id of a record that another worker has changed.
    :param doubt_all: called when any record may have changed.
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
        """Invalidate what the news makes stale. When the Deferred fires, what is revoked or hidden is on disk.

        :raise NotLasting: in the Deferred: it is not on disk; the news must be delivered again.
        """
        memory = self._memory
        match news:
            case EntriesInvalidated():
                self._struck(news)
                return self._settled(must=False) if news.hidden_from else None
            case AccountChange():
                memory.accounts.elsewhere(news.reference, news.staff_id, news.doubt_s)
                return self._settled(must=True)
            case CredentialsRefused():
                memory.accounts.refused_elsewhere(news.credentials)
                return self._settled(must=True)
            case EverythingStale():
                self._strike((ACCOUNTS, PUBLIC))
                memory.accounts.anything()
                memory.let_in()
                self._doubt_all()
                return self._settled(must=True)
            case _:
                return None

    def missed(self) -> None:
        """News of others was lost for good: delete what is stored for outages.

        A revocation, or a mark that hides an entry from its author, may be missing here.
        """
        memory = self._memory
        for tag in (ACCOUNTS, PUBLIC):
            memory.store.drop_tag(tag)
        memory.accounts.no_grace()
        memory.keeper.forget_all()

    def _struck(self, news: EntriesInvalidated) -> None:
        memory = self._memory
        self._strike(news.tags)
        for tag in news.tags:
            for key, _, tags, _ in memory.store.tagged(tag):
                if not set(news.hidden_from).isdisjoint(tags):
                    memory.store.mark(key, EntryMark.HIDDEN)
            for owner in news.hidden_from:
                memory.keeper.mark(tag, EntryMark.HIDDEN, owner)
        if news.lets_in:
            memory.let_in()
        self._forget(news.resource, news.record)

    def _strike(self, tags: tuple[str, ...]) -> None:
        memory = self._memory
        for tag in tags:
            memory.store.mark_tag(tag, EntryMark.STRUCK)
            memory.keeper.mark(tag, EntryMark.STRUCK)
        memory.fills.doom(tags)

    def _settled(self, *, must: bool) -> Deferred[None]:
        async def settled() -> None:
            if not await self._memory.keeper.settled() and must:
                raise RevocationNotStored

        return Deferred.fromCoroutine(settled())
