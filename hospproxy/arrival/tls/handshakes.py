"""Limit TLS handshakes in progress: how many, per address, and for how long.

Each costs us a signature and the client nothing.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, Final, Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ...exchange.words import Handshake
from ...options.arrival_section import ArrivalSettings
from ..front.trust import Address, parse_address, source_of

MAX_REMEMBERED: Final = 10_000
"""Addresses whose rate is remembered; beyond it the address that was quiet for longest is dropped."""


class PendingHandshake(Protocol):
    """A connection whose handshake is in progress."""

    def abortConnection(self) -> None:
        """Close at once, without sending anything more."""


@define(slots=True, eq=False)
class Handshakes:
    """The handshakes in progress on all listeners.

    :param clock: monotonic.
    :param exempt: whether an address is a trusted proxy, which many clients share.
    :param count: called with the result of each: done, failed, timed_out, refused_total, refused_address,
        refused_rate.
    """

    clock: IReactorTime
    limits: ArrivalSettings
    exempt: Callable[[Address | None], bool] = lambda _: False
    count: Callable[[Handshake], None] = lambda _: None
    _open: dict[PendingHandshake, tuple[str, float]] = field(factory=dict, init=False)
    _by_source: Counter[str] = field(factory=Counter, init=False)
    _rates: OrderedDict[str, tuple[float, float]] = field(factory=OrderedDict, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, host: str) -> bool:
        """Whether this address may begin a handshake now; a refusal is counted."""
        address = parse_address(host)
        refusal: Handshake | None = None
        if len(self._open) >= self.limits.max_handshakes:
            refusal = "refused_total"
        elif address is not None and not self.exempt(address):  # a balancer's own checks have no address
            source = source_of(host)
            if self._by_source[source] >= self.limits.max_handshakes_per_address:
                refusal = "refused_address"
            elif not self._within_rate(source):
                refusal = "refused_rate"
            if not self._by_source[source]:
                del self._by_source[source]
        if refusal:
            self.count(refusal)
        return not refusal

    def begin(self, connection: PendingHandshake, host: str) -> None:
        """A handshake has begun. Call ``end`` for it, or it times out."""
        source = source_of(host)
        self._open[connection] = (source, self.clock.seconds() + self.limits.handshake_timeout_s)
        self._by_source[source] += 1
        if self._call is None:
            self._call = self.clock.callLater(self.limits.handshake_timeout_s, self._sweep)

    def end(self, connection: Any, how: Handshake) -> None:
        """A handshake is over; does nothing if that was known."""
        entry = self._open.pop(connection, None)
        if entry is None:
            return
        source, _ = entry
        self._by_source[source] -= 1
        if not self._by_source[source]:
            del self._by_source[source]
        self.count(how)
        if not self._open and self._call is not None:
            self._call.cancel()
            self._call = None

    def _sweep(self) -> None:
        """Abort handshakes that are late. All have the same timeout, so the oldest come first."""
        self._call = None
        now = self.clock.seconds()
        late = []
        for connection, (_, deadline) in self._open.items():
            if deadline > now:
                self._call = self.clock.callLater(deadline - now, self._sweep)
                break
            late.append(connection)
        for connection in late:
            self.end(connection, "timed_out")
            connection.abortConnection()

    def _within_rate(self, source: str) -> bool:
        """Take a token from the address's bucket, which holds as many as one second allows."""
        rate, now = self.limits.handshake_rate_per_address, self.clock.seconds()
        tokens, since = self._rates.pop(source, (float(rate), now))
        tokens = min(float(rate), tokens + (now - since) * rate)
        allowed = tokens >= 1.0
        self._rates[source] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._rates) > MAX_REMEMBERED:
            self._rates.popitem(last=False)
        return allowed
