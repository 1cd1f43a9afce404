"""Alerts about the proxy and HOSP themselves, which no audit record triggers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from ...interfaces import IJournal, IMeter
from ..describe import VERSION, timestamp

RULE = "surge"
"""Name of the rule in records and metrics."""


def system_record(text: str, now: float, lasted_s: float) -> Mapping[str, Any]:
    """The audit record of an alert about a surge; its fields are those of every alert.

    :param now: seconds since the epoch.
    :param lasted_s: seconds that the surge lasted; 0 at its begin.
    """
    return {
        "v": VERSION,
        "kind": "alert",
        "time": timestamp(now),
        "request_id": None,
        "rule": RULE,
        "text": text,
        "who": None,
        "client": {"address": None},
        "patient_id": None,
        "count": 1,
        "window_s": lasted_s,
        "withheld": 0,
    }


class SystemAlerts:
    """Writes such alerts to the journal, from where every sink takes them, the webhook too.

    :param journal: nothing waits for its records.
    :param wall: seconds since the epoch.
    """

    _log = Logger()

    def __init__(self, journal: IJournal, meter: IMeter, wall: Callable[[], float]) -> None:
        self._journal = journal
        self._meter = meter
        self._wall = wall

    def tell(self, text: str, lasted_s: float = 0.0) -> None:
        """Raise an alert. Never raises an error, and does not log the text: the caller has.

        :param lasted_s: seconds that the surge lasted; 0 at its begin.
        """
        self._meter.count("alerts_total", rule=RULE)
        record = dict(system_record(text, self._wall(), lasted_s))
        self._journal.append(record).addErrback(self._not_kept)

    def _not_kept(self, failure: Failure) -> None:
        self._meter.count("noticing_failures_total")
        self._log.error(
            "The audit record of an alert could not be written: {why}", why=failure.getErrorMessage()
        )
