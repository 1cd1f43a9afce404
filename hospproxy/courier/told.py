"""The last report of the courier process, shown among the metrics of the service.

A scrape asks nobody: the courier reports by itself. While it is silent, sinks count as down, and the service computes
how far they are behind from how much it has written since.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

from ..interfaces import IMeter
from .messages import Told

SILENT_S: Final = 5.0
"""Seconds without a message after which the courier counts as silent; it reports each second."""
MOST: Final = 2000
"""Most gauges that are shown."""
_UP: Final = "record_writer_up"
_RECORDS: Final = "record_writer_behind_records"
_SECONDS: Final = "record_writer_behind_seconds"

_Key = tuple[str, tuple[tuple[str, str], ...]]


class Reported:
    """Counters and gauges of the courier.

    :param records: returns how many records the journals hold on disk.
    :ivar at: when the latest report came, in monotonic seconds.
    """

    def __init__(self, meter: IMeter, clock: IReactorTime, records: Callable[[], int]) -> None:
        self._meter = meter
        self._clock = clock
        self._records = records
        self._values: dict[_Key, float] = {}
        self._written = 0
        self._away = False
        self.at = clock.seconds()

    @property
    def is_silent(self) -> bool:
        """Whether the courier has ended, or has not reported for a while."""
        return self._away or self._clock.seconds() - self.at > SILENT_S

    def received(self, told: Told) -> None:
        """Add a report of the courier to the metrics of this process."""
        for each in told.counts:
            self._meter.count(each.name, each.value, **each.labels)
        for each in told.gauges:
            key = each.name, tuple(each.labels.items())
            if key not in self._values:
                if len(self._values) >= MOST:
                    continue
                self._meter.gauge(each.name, lambda key=key: self._value(key), **each.labels)  # type: ignore[misc]
            self._values[key] = each.value
        self.at, self._written, self._away = self._clock.seconds(), self._records(), False

    def ended(self) -> None:
        """The courier process has ended."""
        self._away = True

    def _value(self, key: _Key) -> float:
        name, labels = key
        value = self._values[key]
        if not self.is_silent:
            return value
        if name == _UP:
            return 0.0
        if name == _RECORDS:
            return value + max(0, self._records() - self._written)
        if name == _SECONDS and self._value((_RECORDS, labels)) > 0:
            return value + self._clock.seconds() - self.at
        return value
