"""Limits that were reached: counted one by one, logged in full, but not as often as they are reached."""

from __future__ import annotations

from typing import Final

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..interfaces import IMeter
from .limits import ArrivalLimits

_log = Logger()

LOG_S: Final = 10.0
"""Seconds between two lines about the same limit: who floods us may not flood the log."""


@define(slots=True, eq=False)
class Tally:
    """What happened to clients at arrival's limits. Clients are told in general words; here is the rest.

    :param clock: monotonic.
    :param meter: counts ``arrival_limits_total``.
    :ivar unwritable: how many answers could not be written as they were.
    """

    clock: IReactorTime
    limits: ArrivalLimits
    meter: IMeter
    _said_at: dict[str, float] = field(factory=dict, init=False)
    _unsaid: dict[str, int] = field(factory=dict, init=False)
    unwritable: int = field(default=0, init=False)

    def hit(self, limit: str, address: str) -> None:
        """A client came to a limit.

        :param limit: a field of ArrivalLimits.
        :param address: of the client.
        """
        self.meter.count("arrival_limits_total", limit=limit)
        now, said_at = self.clock.seconds(), self._said_at.get(limit)
        if said_at is not None and now - said_at < LOG_S:
            self._unsaid[limit] = self._unsaid.get(limit, 0) + 1
            return
        self._said_at[limit] = now
        _log.info(
            "arrival.{limit} = {value} was reached by {address}; {unsaid} times since the last such line",
            limit=limit,
            value=getattr(self.limits, limit),
            address=address,
            unsaid=self._unsaid.pop(limit, 0),
        )
