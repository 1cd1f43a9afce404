"""Ties together cache entries, fetches in flight and accounts. A write invalidates all three."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ..contract.contract import Contract
from ..exchange.exchange import Call, Identified
from ..http.errors import BadAnswer, BreakerOpen, FailedAfterSending, OutcomeUnknown, ProxyError, RecordFailed
from ..http.messages import Identity, Origin, Response
from ..interfaces import ICacheStore
from ..process.hook import Hook
from ..sharing.kinds import ALONE, Sharing
from ..sharing.news import AccountChange, CredentialsRefused, EntriesInvalidated, News
from ..sharing.tags import ACCOUNTS, PUBLIC, account_tag
from .accounts import RESUME_S, Accounts
from .fills import Fills
from .persistence import NoPersistence, Persistence
from .record_patch import patched
from .staleness import account_of_write, may_let_in, tags_of_write
from .stall_fallback import NoStallSignal, StallSignal
from .store import CacheEntry, EntryMark, size_of

MAX_UNKNOWN = 1000
"""Maximum number of account writes with unknown outcome to wait for. Others stay open for ``late_commit_s`` only."""

DOUBT_S = 120.0
"""Seconds for which other workers doubt an account that is being changed, unless another report follows."""

_STILL_UNDER_WAY = frozenset({408, 502, 503, 504})
"""After these statuses, from HOSP or a proxy before it, HOSP may still carry the write out. Any other status says that
it has finished."""


def _may_be_at_it(error: Exception) -> bool:
    """Whether HOSP may still carry out a write that ended with this error."""
    if isinstance(error, BadAnswer):
        return error.head_status is None or error.head_status in _STILL_UNDER_WAY
    return isinstance(error, FailedAfterSending)


@frozen(slots=True)
class WriteAuthor:
    """The author of a write, as far as the cache needs it.

    :param identity: None if unknown.
    :param origin: scheme and host that the client used.
    """

    identity: Identity | None = None
    origin: str = ""

    @classmethod
    def of(cls, exchange: Identified) -> WriteAuthor:
        return cls(exchange.identity, exchange.request.client.origin)


NOBODY = WriteAuthor()


@define(slots=True, eq=False)
class _Sending:
    """A write that has passed the cache and has not returned.

    :param reference: its name among other workers.
    :param found: ``found_later`` has already been called for it.
    """

    call: Call
    reference: str
    found: bool = False


class Memory:
    """Invalidates what a write makes stale.

    A second level (shared by several workers) is another ICacheStore behind ``store``, and gets the same tags.

    :param late_commit_s: seconds after which a write whose response was lost was carried out or never will be.
        Default: the contract's.
    :param keeper: stores what outlives the process.
    :param sharing: reports to the other workers.
    :param name: makes a name for a write that is unique among all workers.
    :param away: whether HOSP is known to be down, so that no write can be sent.
    :param stalls: whether HOSP is silent for longer than usual, so that stored responses are served meanwhile.
    :param let_in: called before and after every write that may make HOSP accept credentials that it has refused.
    """

    def __init__(
        self,
        contract: Contract,
        accounts: Accounts,
        store: ICacheStore,
        clock: IReactorTime,
        late_commit_s: float | None = None,
        keeper: Persistence | None = None,
        sharing: Sharing = ALONE,
        name: Callable[[], str] = lambda: secrets.token_hex(8),
        *,
        away: Callable[[], bool] = lambda: False,
        stalls: StallSignal | None = None,
        let_in: Callable[[], None] = lambda: None,
    ) -> None:
        self._contract = contract
        self.sharing = sharing
        self._clock = clock
        self._name = name
        self.keeper: Persistence = NoPersistence() if keeper is None else keeper
        self._away = away
        self.stalls: StallSignal = NoStallSignal() if stalls is None else stalls
        self.let_in = let_in
        self.acknowledged: Hook[[Call, Response]] = Hook()
        """HOSP has carried a write out, by its own response or by what was found of it."""
        self._late_commit_s = contract.late_commit_s if late_commit_s is None else late_commit_s
        self._sending: list[_Sending] = []
        self._unknown: list[_Sending] = []
        self.accounts = accounts
        self.store = store
        self.fills = Fills(clock)
        accounts.revoked.listen(self._revoke)
        accounts.refused_here.listen(lambda credentials: sharing.say(CredentialsRefused(credentials)))

    async def around_write(
        self,
        call: Call,
        send: Callable[[], Awaitable[Response]],
        by: WriteAuthor = NOBODY,
        was_sent: Callable[[], bool] = lambda: True,
    ) -> Response:
        """Pass a write on, and invalidate what it touches: before it is sent, and again after any outcome.

        What it revokes is deleted on disk before it is sent. What it hides is marked on disk before its response
        leaves. By then no other worker serves what it has made stale.

        :param send: sends it.
        :param by: its author, who will be told that it was carried out.
        :param was_sent: whether any of it may have reached HOSP.
        :raise BreakerOpen: it would revoke credentials but cannot be sent, so nobody loses access to stored responses.
        :raise ProxyError: whatever ``send`` raises; 503 if what it revokes cannot be deleted on disk.
        """
        if account_of_write(self._contract, call) and self._away():
            raise BreakerOpen
        sending = _Sending(call, self._name())
        self._sending.append(sending)
        try:
            await self._begin(sending)
            response = await send()
        except BaseException as error:
            news = self._news(sending.call, sending.reference, self._failed(sending, error))
            sent = was_sent() or isinstance(error, OutcomeUnknown)
            if isinstance(error, Exception) and sent:
                await self.sharing.announce(*news)
            else:
                self._say(one for one in news if sent or isinstance(one, AccountChange))
            raise
        finally:
            self._sending.remove(sending)
        if response.origin is Origin.UPSTREAM and response.status in _STILL_UNDER_WAY:
            doubt_s = self._left_open(sending, self._late_commit_s)
        else:
            doubt_s = self._ended(call)
        done = 200 <= response.status < 300
        if done:
            self._acknowledge(call, response, by)
            if response.origin is not Origin.MEMORY:  # a replayed response is of an earlier time
                self.acknowledged.tell(call, response)
            await self.keeper.settled()
        hidden_from = self._owners(by) if done else ()
        await self.sharing.announce(*self._news(call, sending.reference, doubt_s, hidden_from))
        return response

    async def _begin(self, sending: _Sending) -> None:
        call = sending.call
        self._each_account(call, self.accounts.changing)
        self.invalidate(call)
        if account_of_write(self._contract, call):
            await self._revoked()
            news = self._news(call, sending.reference, DOUBT_S)
            await self.sharing.announce(*(one for one in news if isinstance(one, AccountChange)))

    def _news(
        self, call: Call, reference: str, doubt_s: float, hidden_from: tuple[str, ...] = ()
    ) -> tuple[News, ...]:
        """What other workers must know about a write.

        :param doubt_s: seconds for which an account that it may change is unsettled; 0: it is settled.
        :param hidden_from: tags of those who must not see the state before it again.
        """
        lets_in, about = may_let_in(self._contract, call), call.operation.resource
        struck = EntriesInvalidated(tags_of_write(call), hidden_from, lets_in, about, call.record_id)
        accounts = account_of_write(self._contract, call)
        return (struck, *(AccountChange(reference, staff_id, doubt_s) for staff_id in accounts))

    def _say(self, news: Iterable[News]) -> None:
        for one in news:
            self.sharing.say(one)

    async def _revoked(self) -> None:
        if not await self.keeper.settled():
            raise ProxyError(
                "What is stored for this account cannot be deleted now, so nothing was sent.",
                status=503,
                retry_after_s=5,
            )

    def found_later(self, call: Call, by: WriteAuthor = NOBODY) -> Deferred[None]:
        """The outcome of a write that ended in OutcomeUnknown is now known, or the search has ended.

        :param call: the call that was sent. This may be called before OutcomeUnknown has reached the cache.
        :param by: its author, who may ask for the outcome.
        :return: fires when the result is on disk and no other worker serves what the write made stale. Tell the
            outcome to nobody before that.
        """
        sending = next((one for one in self._sending if one.call is call), None)
        unknown = next((one for one in self._unknown if one.call == call), None)
        if sending is not None:
            sending.found = True
        elif unknown is not None:
            self._unknown.remove(unknown)
            self._each_account(call, self.accounts.found)
        else:
            # An earlier process sent it.
            self._each_account(call, self.accounts.touched)
        self.invalidate(call)
        self._hide(call, by)
        known = sending or unknown
        news = self._news(call, "" if known is None else known.reference, 0.0, self._owners(by))
        heard = Deferred.fromCoroutine(self.sharing.announce(*news))

        async def lasting() -> None:
            await self.keeper.settled()
            await heard

        return Deferred.fromCoroutine(lasting())

    def invalidate(self, call: Call) -> None:
        """Mark what a write may change as no longer fresh for anybody, and doom the fetches in flight."""
        for tag in tags_of_write(call):
            self.store.mark_tag(tag, EntryMark.STRUCK)
            self.keeper.mark(tag, EntryMark.STRUCK)
            self.fills.doom((tag,))
        if may_let_in(self._contract, call):
            self.let_in()

    def _acknowledge(self, call: Call, response: Response, by: WriteAuthor) -> None:
        """Keep the author from seeing the state before the write: patch entries where possible, hide the rest."""
        right = [
            (key, after, tags)
            for key, (entry, tags, mark) in self._readable_by(call, by).items()
            if mark is not EntryMark.HIDDEN
            and (after := self._patched(entry, call, response, by)) is not None
        ]
        self._hide(call, by)
        for key, entry, tags in right:
            self.store.put(key, entry, size_of(entry, tags), tags, EntryMark.STRUCK)
            self.keeper.put(entry, tags, EntryMark.STRUCK)

    def _patched(
        self, entry: CacheEntry, call: Call, response: Response, by: WriteAuthor
    ) -> CacheEntry | None:
        about = self._contract.operations.get(entry.asked.operation)
        resource = self._contract.resources.get(call.operation.resource or "")
        if about is None or resource is None or about.resource != call.operation.resource:
            return None
        # A replayed response is older than what was read since.
        if response.origin is Origin.MEMORY:
            return None
        return patched(entry, call, response, by.origin, resource, about.certain_filters)

    def _readable_by(
        self, call: Call, by: WriteAuthor
    ) -> dict[bytes, tuple[CacheEntry, tuple[str, ...], EntryMark]]:
        """Cache entries that this write invalidates and that its author can read."""
        own = None if by.identity is None else account_tag(str(by.identity.id))
        return {
            key: (entry, tags, mark)
            for tag in tags_of_write(call)
            for key, entry, tags, mark in self.store.tagged(tag)
            if own in tags or ACCOUNTS not in tags
        }

    def _hide(self, call: Call, by: WriteAuthor) -> None:
        for key in self._readable_by(call, by):
            self.store.mark(key, EntryMark.HIDDEN)
        for tag in tags_of_write(call):
            for owner in self._owners(by):
                self.keeper.mark(tag, EntryMark.HIDDEN, owner)

    def _owners(self, by: WriteAuthor) -> tuple[str, ...]:
        """Tags of the entries that the author can read."""
        return (PUBLIC,) if by.identity is None else (PUBLIC, account_tag(str(by.identity.id)))

    def _failed(self, sending: _Sending, error: BaseException) -> float:
        if isinstance(error, OutcomeUnknown):
            waited_for = not sending.found and len(self._unknown) < MAX_UNKNOWN
            return self._left_open(sending, None if waited_for else self._late_commit_s)
        if isinstance(error, (ProxyError, RecordFailed)) and not _may_be_at_it(error):
            # It was not sent, or HOSP has finished with it.
            return self._ended(sending.call)
        return self._left_open(sending, self._late_commit_s)

    def _ended(self, call: Call) -> float:
        self._each_account(call, self.accounts.changed)
        self.invalidate(call)
        return 0.0

    def _left_open(self, sending: _Sending, for_s: float | None) -> float:
        """Leave a write open: until its outcome is found, or for ``for_s`` seconds.

        :return: seconds for which other workers must doubt its accounts.
        """
        call = sending.call
        if for_s is None and account_of_write(self._contract, call):
            self._unknown.append(sending)
        self._each_account(call, lambda staff_id: self.accounts.left_open(staff_id, for_s))
        self.invalidate(call)
        if for_s is not None and account_of_write(self._contract, call) and not self.sharing.is_alone:
            # A worker that joined meanwhile does not know of the doubt, and may have stored the state before the write.
            over = self._news(call, sending.reference, 0.0)
            self._clock.callLater(for_s, self._say, over)
        return RESUME_S if for_s is None else for_s

    def _each_account(self, call: Call, tell: Callable[[str | None], None]) -> None:
        for staff_id in account_of_write(self._contract, call):
            tell(staff_id)

    def _revoke(self, tag: str) -> None:
        """Delete the entries with this tag: nobody may have them any more."""
        self.store.drop_tag(tag)
        self.keeper.drop(tag)
        self.fills.doom((tag,))
