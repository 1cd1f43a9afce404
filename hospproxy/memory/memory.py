"""What is remembered, as one: kept answers, answers on their way, and accounts. A write strikes all three."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.interfaces import IReactorTime

from ..contract import Contract
from ..errors import FailedAfterSending, OutcomeUnknown, ProxyError, RecordFailed
from ..interfaces import ICacheStore
from ..messages import Call, Origin, Response
from .accounts import Accounts
from .fills import Fills
from .staleness import account_of_write, tags_of_write

_STILL_UNDER_WAY = frozenset({408, 502, 503, 504})
"""After these HOSP may carry the write out yet, whoever sent them; any other status says that it has finished."""


class Memory:
    """Ties together what a write makes stale.

    A second level (shared by several workers) is one more ICacheStore behind ``store`` and one more listener to
    ``invalidate``.

    :param late_commit_s: seconds after which a write whose answer was lost was carried out or never will be.
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
        self.accounts = accounts
        self.store = store
        self.fills = Fills(clock)
        self.invalidated = 0
        accounts.listen(self._strike)

    async def around_write(self, call: Call, send: Callable[[], Awaitable[Response]]) -> Response:
        """Let a write pass, and make stale what it touches: before it is sent and again at any outcome.

        :param send: sends it.
        :raise ProxyError: whatever ``send`` raises.
        """
        self.invalidate_before(call)
        try:
            response = await send()
        except OutcomeUnknown:
            self.left_open(call)
            raise
        except BaseException as error:
            if isinstance(error, (ProxyError, RecordFailed)) and not isinstance(error, FailedAfterSending):
                # Not sent, or HOSP has finished with it.
                self.invalidate_after(call)
            else:
                self.left_open(call, self._late_commit_s)
            raise
        if response.origin is Origin.UPSTREAM and response.status in _STILL_UNDER_WAY:
            self.left_open(call, self._late_commit_s)
        else:
            self.invalidate_after(call)
        return response

    def invalidate_before(self, call: Call) -> None:
        """A write is about to be sent."""
        for staff_id in account_of_write(self._contract, call):
            self.accounts.changing(staff_id)
        self.invalidate(call)

    def invalidate_after(self, call: Call) -> None:
        """A write has ended, and what became of it is known."""
        for staff_id in account_of_write(self._contract, call):
            self.accounts.changed(staff_id)
        self.invalidate(call)

    def left_open(self, call: Call, for_s: float | None = None) -> None:
        """A write has ended, and what became of it is not known.

        :param for_s: seconds after which it was carried out or never will be; None: ``found_later`` will be called.
        """
        for staff_id in account_of_write(self._contract, call):
            self.accounts.left_open(staff_id, for_s)
        self.invalidate(call)

    def found_later(self, call: Call) -> None:
        """What became of a write that had ended in OutcomeUnknown is known now, or nobody looks any more."""
        for staff_id in account_of_write(self._contract, call):
            self.accounts.found(staff_id)
        self.invalidate(call)

    def invalidate(self, call: Call) -> None:
        """Forget what a write makes stale, for everybody; what is on its way will not be kept."""
        for tag in tags_of_write(call):
            self._strike(tag)

    def _strike(self, tag: str) -> None:
        self.invalidated += self.store.drop_tag(tag) + self.fills.doom((tag,))
