"""What is remembered, as one: kept answers, answers on their way, and accounts. A write strikes all three."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define, frozen
from twisted.internet.interfaces import IReactorTime

from ..contract import Contract
from ..errors import BadAnswer, BreakerOpen, FailedAfterSending, OutcomeUnknown, ProxyError, RecordFailed
from ..interfaces import ICacheStore
from ..messages import Call, Exchange, Identity, Origin, Response
from .accounts import Accounts
from .fills import Fills
from .keeper import Keeper, Nowhere
from .patching import patched
from .staleness import ACCOUNTS, PUBLIC, account_of_write, account_tag, may_let_in, tags_of_write
from .store import Entry, Mark, size_of

MAX_UNKNOWN = 1000
"""Writes to accounts whose outcome is unknown that are waited for; more are given their time and no longer."""

_STILL_UNDER_WAY = frozenset({408, 502, 503, 504})
"""After these HOSP may carry the write out yet, whoever sent them; any other status says that it has finished."""


def _may_be_at_it(error: Exception) -> bool:
    """Whether HOSP may carry out yet what ended so."""
    if isinstance(error, BadAnswer):
        return error.head_status is None or error.head_status in _STILL_UNDER_WAY
    return isinstance(error, FailedAfterSending)


@frozen(slots=True)
class Writer:
    """Who writes.

    :param identity: None where nobody knows.
    :param origin: scheme and host that the client used.
    """

    identity: Identity | None = None
    origin: str = ""

    @classmethod
    def of(cls, exchange: Exchange) -> Writer:
        return cls(exchange.identity, exchange.request.client.origin)


NOBODY = Writer()


@define(slots=True, eq=False)
class _Sending:
    """A write that is below the cache.

    :param found: ``found_later`` has been called for it already.
    """

    call: Call
    found: bool = False


class Memory:
    """Ties together what a write makes stale.

    A second level (shared by several workers) is one more ICacheStore behind ``store``, and hears of the same tags.

    :param late_commit_s: seconds after which a write whose answer was lost was carried out or never will be;
        the contract's if it is not given.
    :param keeper: keeps what outlives the process.
    """

    def __init__(
        self,
        contract: Contract,
        accounts: Accounts,
        store: ICacheStore,
        clock: IReactorTime,
        late_commit_s: float | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self._contract = contract
        self.keeper: Keeper = Nowhere() if keeper is None else keeper
        self.away: Callable[[], bool] = lambda: False
        """Whether HOSP is known to be gone, so that no write can be sent."""
        self.let_in: Callable[[], None] = lambda: None
        """Told of every write, before and after it, that may make HOSP accept whom it has refused."""
        self._late_commit_s = contract.late_commit_s if late_commit_s is None else late_commit_s
        self._sending: list[_Sending] = []
        self._unknown: list[Call] = []
        self.accounts = accounts
        self.store = store
        self.fills = Fills(clock)
        accounts.listen(self._revoke)

    async def around_write(
        self, call: Call, send: Callable[[], Awaitable[Response]], by: Writer = NOBODY
    ) -> Response:
        """Let a write pass, and make stale what it touches: before it is sent and again at any outcome.

        What it revokes is on disk before it is sent, and what it hides before its answer is given.

        :param send: sends it.
        :param by: who is told that it was carried out.
        :raise BreakerOpen: it would revoke, and cannot be sent: nobody's reading ends for a write that is none.
        :raise ProxyError: whatever ``send`` raises; a 503 where what it revokes cannot be taken back.
        """
        if account_of_write(self._contract, call) and self.away():
            raise BreakerOpen
        sending = _Sending(call)
        self._sending.append(sending)
        try:
            self._each_account(call, self.accounts.changing)
            self.invalidate(call)
            if account_of_write(self._contract, call):
                await self._revoked()
            response = await send()
        except BaseException as error:
            self._failed(sending, error)
            raise
        finally:
            self._sending.remove(sending)
        if response.origin is Origin.UPSTREAM and response.status in _STILL_UNDER_WAY:
            self._left_open(call, self._late_commit_s)
        else:
            self._ended(call)
        if 200 <= response.status < 300:
            self._acknowledge(call, response, by)
            await self.keeper.settled()
        return response

    async def _revoked(self) -> None:
        if not await self.keeper.settled():
            raise ProxyError(
                "What is remembered of this account cannot be taken back at present.",
                status=503,
                retry_after_s=5,
            )

    def found_later(self, call: Call, by: Writer = NOBODY) -> None:
        """What became of a write that ended in OutcomeUnknown is known now, or nobody looks any more.

        :param call: the one that was sent. It may be told before OutcomeUnknown has come up to the cache.
        :param by: who may ask what became of it.
        """
        sending = next((one for one in self._sending if one.call is call), None)
        if sending is not None:
            sending.found = True
        elif call in self._unknown:
            self._unknown.remove(call)
            self._each_account(call, self.accounts.found)
        else:
            # Sent by an earlier process.
            self._each_account(call, self.accounts.touched)
        self.invalidate(call)
        self._hide(call, by)

    def invalidate(self, call: Call) -> None:
        """What a write may change is fresh for nobody any more; what is on its way will not be kept."""
        for tag in tags_of_write(call):
            self.store.mark_tag(tag, Mark.STRUCK)
            self.keeper.mark(tag, Mark.STRUCK)
            self.fills.doom((tag,))
        if may_let_in(self._contract, call):
            self.let_in()

    def _acknowledge(self, call: Call, response: Response, by: Writer) -> None:
        """Its writer must not read again what was before it: set right what can be, hide the rest."""
        right = [
            (key, after, tags)
            for key, (entry, tags, mark) in self._readable_by(call, by).items()
            if mark is not Mark.HIDDEN and (after := self._patched(entry, call, response, by)) is not None
        ]
        self._hide(call, by)
        for key, entry, tags in right:
            self.store.put(key, entry, size_of(entry, tags), tags, Mark.STRUCK)
            self.keeper.put(entry, tags, Mark.STRUCK)

    def _patched(self, entry: Entry, call: Call, response: Response, by: Writer) -> Entry | None:
        about = self._contract.operations.get(entry.asked.operation)
        resource = self._contract.resources.get(call.operation.resource or "")
        if about is None or resource is None or about.resource != call.operation.resource:
            return None
        # A repeated answer is of an earlier state than what was read since.
        return (
            None if response.origin is Origin.MEMORY else patched(entry, call, response, by.origin, resource)
        )

    def _readable_by(self, call: Call, by: Writer) -> dict[bytes, tuple[Entry, tuple[str, ...], Mark]]:
        """What a write touches of that which its writer can read."""
        own = None if by.identity is None else account_tag(str(by.identity.id))
        return {
            key: (entry, tags, mark)
            for tag in tags_of_write(call)
            for key, entry, tags, mark in self.store.tagged(tag)
            if own in tags or ACCOUNTS not in tags
        }

    def _hide(self, call: Call, by: Writer) -> None:
        for key in self._readable_by(call, by):
            self.store.mark(key, Mark.HIDDEN)
        own = None if by.identity is None else account_tag(str(by.identity.id))
        for tag in tags_of_write(call):
            for owner in (PUBLIC, own):
                if owner is not None:
                    self.keeper.mark(tag, Mark.HIDDEN, owner)

    def _failed(self, sending: _Sending, error: BaseException) -> None:
        if isinstance(error, OutcomeUnknown):
            waited_for = not sending.found and len(self._unknown) < MAX_UNKNOWN
            self._left_open(sending.call, None if waited_for else self._late_commit_s)
        elif isinstance(error, (ProxyError, RecordFailed)) and not _may_be_at_it(error):
            # Not sent, or HOSP has finished with it.
            self._ended(sending.call)
        else:
            self._left_open(sending.call, self._late_commit_s)

    def _ended(self, call: Call) -> None:
        self._each_account(call, self.accounts.changed)
        self.invalidate(call)

    def _left_open(self, call: Call, for_s: float | None) -> None:
        """What became of a write is not known: until it is found, or for so many seconds."""
        if for_s is None and account_of_write(self._contract, call):
            self._unknown.append(call)
        self._each_account(call, lambda staff_id: self.accounts.left_open(staff_id, for_s))
        self.invalidate(call)

    def _each_account(self, call: Call, tell: Callable[[str | None], None]) -> None:
        for staff_id in account_of_write(self._contract, call):
            tell(staff_id)

    def _revoke(self, tag: str) -> None:
        """Nobody may have these any more."""
        self.store.drop_tag(tag)
        self.keeper.drop(tag)
        self.fills.doom((tag,))
