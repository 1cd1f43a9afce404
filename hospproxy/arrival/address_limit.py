"""Limit how many connections one address may have open."""

from __future__ import annotations

from collections import Counter
from typing import Any

from attrs import define, field

from ..options.arrival_section import ArrivalSettings
from .front.trust import TrustedProxies, parse_address, source_of
from .limit_log import LimitLog


@define(slots=True, eq=False)
class ConnectionCounts:
    """Counts open connections by source address. Memory is bounded by the number of connections.

    :param trust: trusted proxies are exempt: many clients are behind each of them.
    """

    limits: ArrivalSettings
    trust: TrustedProxies
    tally: LimitLog
    _sources: dict[Any, str] = field(factory=dict, init=False)
    _counts: Counter[str] = field(factory=Counter, init=False)

    def __len__(self) -> int:
        return len(self._counts)

    def enter(self, connection: object, address: str) -> bool:
        """Count a connection; return False if its address has too many already.

        :param address: of the socket's other end, as ``display_address`` returns it.
        """
        if self.trust.networks and self.trust.covers(parse_address(address)):
            return True
        source = source_of(address)
        if self._counts[source] >= self.limits.max_connections_per_address:
            self.tally.hit("max_connections_per_address", address)
            return False
        self._counts[source] += 1
        self._sources[connection] = source
        return True

    def leave(self, connection: object) -> None:
        """Stop counting a connection; does nothing if it was never counted."""
        source = self._sources.pop(connection, None)
        if source is not None:
            self._counts[source] -= 1
            if not self._counts[source]:
                del self._counts[source]
