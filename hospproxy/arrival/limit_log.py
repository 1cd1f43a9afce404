"""Limits that were hit: each one is counted, and the log gets a line at most every ``LOG_S`` seconds per limit."""

from __future__ import annotations

from typing import Final

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..interfaces import IMeter
from ..options.arrival_section import ArrivalSettings

_log = Logger()

LOG_S: Final = 10.0
"""Seconds between two log lines about the same limit, so that a flood of requests does not flood the log."""


@define(slots=True, eq=False)
class LimitLog:
    """Counts and logs limits that clients hit. The response to the client stays general; the details are only here.

    :param clock: monotonic.
    :param meter: counts ``arrival_limits_total``.
    :ivar unwritable: number of responses that could not be serialised.
    """

    clock: IReactorTime
    limits: ArrivalSettings
    meter: IMeter
    _said_at: dict[str, float] = field(factory=dict, init=False)
    _unsaid: dict[str, int] = field(factory=dict, init=False)
    unwritable: int = field(default=0, init=False)

    def hit(self, limit: str, address: str) -> None:
        """Count a client that hit a limit.

        :param limit: a field of ArrivalSettings.
        :param address: of the client.
        """
        self.meter.count("arrival_limits_total", limit=limit)
        now, said_at = self.clock.seconds(), self._said_at.get(limit)
        if said_at is not None and now - said_at < LOG_S:
            self._unsaid[limit] = self._unsaid.get(limit, 0) + 1
            return
        self._said_at[limit] = now
        _log.info(
            "arrival.{limit} = {value} was reached by {address}; {unsaid} more times since the last such line",
            limit=limit,
            value=getattr(self.limits, limit),
            address=address,
            unsaid=self._unsaid.pop(limit, 0),
        )
