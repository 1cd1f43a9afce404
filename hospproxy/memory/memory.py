"""What is remembered, as one: kept answers, answers on their way, and accounts. A write strikes all three."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define
from twisted.internet.interfaces import IReactorTime

from ..contract import Contract
from ..errors import FailedAfterSending, OutcomeUnknown, ProxyError, RecordFailed
from ..interfaces import ICacheStore
from ..messages import Call, Origin, Response
from .accounts import Accounts
from .fills import Fills
from .staleness import account_of_write, tags_of_write

MAX_UNKNOWN = 1000
"""Writes to accounts whose outcome is unknown that are waited for; more are given their time and no longer."""

_STILL_UNDER_WAY = frozenset({408, 502, 503, 504})
"""After these HOSP may carry the write out yet, whoever sent them; any other status says that it has finished."""


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
    """

    def __init__(
        self,
        contract: Contract,
        accounts: Accounts,
        store: ICacheStore,
        clock: IReactorTime,
        late_commit_s: float | None = None,
    ) -> None:
        self._contract = contract
        self._late_commit_s = contract.late_commit_s if late_commit_s is None else late_commit_s
        self._sending: list[_Sending] = []
        self._unknown: list[Call] = []
        self.accounts = accounts
        self.store = store
        self.fills = Fills(clock)
        accounts.listen(self._strike)

    async def around_write(self, call: Call, send: Callable[[], Awaitable[Response]]) -> Response:
        """Let a write pass, and make stale what it touches: before it is sent and again at any outcome.

        :param send: sends it.
        :raise ProxyError: whatever ``send`` raises.
        """
        sending = _Sending(call)
        self._sending.append(sending)
        self._each_account(call, self.accounts.changing)
        self.invalidate(call)
        try:
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
        return response

    def found_later(self, call: Call) -> None:
        """What became of a write that ended in OutcomeUnknown is known now, or nobody looks any more.

        :param call: the one that was sent. It may be told before OutcomeUnknown has come up to the cache.
        """
        sending = next((one for one in self._sending if one.call is call), None)
        if sending is not None:
            sending.found = True
        elif call in self._unknown:
            self._unknown.remove(call)
            self._each_account(call, self.accounts.found)
        self.invalidate(call)

    def invalidate(self, call: Call) -> None:
        """Forget what a write makes stale, for everybody; what is on its way will not be kept."""
        for tag in tags_of_write(call):
            self._strike(tag)

    def _failed(self, sending: _Sending, error: BaseException) -> None:
        if isinstance(error, OutcomeUnknown):
            waited_for = not sending.found and len(self._unknown) < MAX_UNKNOWN
            self._left_open(sending.call, None if waited_for else self._late_commit_s)
        elif isinstance(error, (ProxyError, RecordFailed)) and not isinstance(error, FailedAfterSending):
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

    def _strike(self, tag: str) -> None:
        self.store.drop_tag(tag)
        self.fills.doom((tag,))
