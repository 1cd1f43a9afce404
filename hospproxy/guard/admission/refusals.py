"""Credentials that HOSP has refused a moment ago, so that HOSP is not asked again at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime


class RefusalCache:
    """Credentials that HOSP refused within the last ``keep_s`` seconds.

    A write that might make HOSP accept them clears all.

    :param clock: monotonic.
    :param keep_s: seconds for which a refusal is remembered; 0: not at all.
    :param most: number of credentials; beyond it the oldest are dropped, and HOSP is asked about them again.
    :param late_commit_s: seconds after which a write was carried out or never will be. For this long after such a
        write nothing is remembered.
    :param certain: whether no other worker can have made a write that this one has not learned of.
    """

    def __init__(
        self,
        clock: IReactorTime,
        keep_s: float,
        most: int,
        late_commit_s: float,
        certain: Callable[[], bool] = lambda: True,
    ) -> None:
        self._clock = clock
        self._keep_s = keep_s
        self._most = most
        self._late_commit_s = late_commit_s
        self._writes = 0
        self._settled_at = 0.0
        self._until: OrderedDict[bytes, float] = OrderedDict()
        self._certain = certain

    def reload(self, keep_s: float) -> None:
        """Apply a changed option, for refusals from now on."""
        self._keep_s = keep_s
        if keep_s <= 0:
            self._until.clear()

    def __len__(self) -> int:
        return len(self._until)

    def ticket(self) -> int:
        """Return a position in the sequence of writes; take it before HOSP is asked."""
        return self._writes

    def refused(self, credentials_hmac: bytes, ticket: int) -> None:
        """Remember that HOSP refused these credentials.

        :param ticket: taken before HOSP was asked: a write since then may have made them valid.
        """
        now = self._clock.seconds()
        if self._keep_s <= 0 or ticket != self._writes or now < self._settled_at:
            return
        self._until.pop(credentials_hmac, None)
        self._until[credentials_hmac] = now + self._keep_s
        if len(self._until) > self._most:
            self._until.popitem(last=False)

    def lately(self, credentials_hmac: bytes) -> bool:
        """Whether HOSP refused these a moment ago, so that it need not be asked."""
        until = self._until.get(credentials_hmac)
        if until is None or not self._certain():
            return False
        if until <= self._clock.seconds():
            del self._until[credentials_hmac]
            return False
        return True

    def written(self) -> None:
        """A write that may create or change an account begins or has ended: forget all refusals."""
        self._writes += 1
        self._settled_at = self._clock.seconds() + self._late_commit_s
        self._until.clear()


class NoRefusalCache(RefusalCache):
    """Remembers nothing: HOSP is asked each time."""

    def __init__(self) -> None:
        self._writes = 0
        self._until = OrderedDict()

    def refused(self, credentials_hmac: bytes, ticket: int) -> None:
        """Do nothing: no refusal is remembered."""

    def lately(self, credentials_hmac: bytes) -> bool:  # noqa: ARG002
        return False

    def written(self) -> None:
        """Do nothing: there are no refusals to clear."""
