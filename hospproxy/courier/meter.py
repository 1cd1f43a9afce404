"""Counts in the courier process. The service adds them to its own metrics, so a restart of the courier loses none."""

from __future__ import annotations

import math
from collections.abc import Callable

from twisted.logger import Logger
from zope.interface import implementer

from ..interfaces import IMeter
from .messages import Counted, Told

_Key = tuple[str, tuple[tuple[str, str], ...]]


@implementer(IMeter)
class SentMeter:
    """Collects counts and gauges until ``send`` is called.

    :param send: sends a message to the service.
    """

    _log = Logger()

    def __init__(self, send: Callable[[Told], None]) -> None:
        self._send = send
        self._counts: dict[_Key, float] = {}
        self._gauges: dict[_Key, Callable[[], float]] = {}
        self._sent: dict[_Key, float] = {}
        self._sending = False

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        key = name, tuple(labels.items())
        self._counts[key] = self._counts.get(key, 0.0) + amount

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Do nothing: no part of the courier measures durations."""

    def counter(self, name: str, **labels: str) -> Callable[[], None]:
        return lambda: self.count(name, 1.0, **labels)

    def timer(self, name: str, **labels: str) -> Callable[[float], None]:
        return lambda seconds: self.observe(name, seconds, **labels)

    def gauge(self, name: str, read: Callable[[], float], **labels: str) -> None:
        self._gauges[name, tuple(labels.items())] = read

    def send(self) -> None:
        """Send what was counted, and the gauges that have changed. An empty message shows that we are alive."""
        if self._sending:
            return  # a gauge that failed was logged, and each log line asks for this
        self._sending = True
        try:
            self._send_all()
        finally:
            self._sending = False

    def _send_all(self) -> None:
        counts, self._counts = self._counts, {}
        values = {key: self._read(key[0], read) for key, read in self._gauges.items()}
        changed = {key: value for key, value in values.items() if self._sent.get(key) != value}
        self._sent.update(changed)
        self._send(Told(_listed(counts), _listed(changed)))

    def _read(self, name: str, read: Callable[[], float]) -> float:
        try:
            return float(read())
        except Exception:  # one failing gauge must not hide the other metrics
            self._log.failure("gauge {name} cannot be read (a bug); it is reported as NaN", name=name)
            return math.nan


def _listed(values: dict[_Key, float]) -> list[Counted]:
    return [Counted(name, dict(labels), value) for (name, labels), value in values.items()]
