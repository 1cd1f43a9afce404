"""Where a time lies in the day and week of a time zone. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from attrs import frozen

HOURS = 168
_QUARTER_S = 900


@frozen(slots=True)
class LocalMoment:
    """A quarter of an hour: the offset of every time zone is a multiple of that.

    :param day: number of the day (``date.toordinal``).
    :param hour: of the week; 0 is Monday's first hour.
    :param minute: minute of the day at which the quarter begins.
    """

    day: int
    hour: int
    minute: int

    @property
    def slot(self) -> tuple[int, int]:
        """Identifies one hour of one day."""
        return self.day, self.hour


class Calendar:
    """Converts times to moments; caches the last one, since thousands of records fall within one quarter.

    :param zone: name of a time zone.
    """

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self._zone: tzinfo = UTC if zone == "UTC" else ZoneInfo(zone)
        self._quarter: int | None = None
        self._moment = LocalMoment(0, 0, 0)

    def moment(self, now: float) -> LocalMoment:
        """The quarter of an hour that a time belongs to.

        :param now: seconds since the epoch.
        """
        quarter = int(now // _QUARTER_S)
        if quarter != self._quarter:
            local = datetime.fromtimestamp(quarter * _QUARTER_S, self._zone)
            minute = local.hour * 60 + local.minute
            self._moment = LocalMoment(local.toordinal(), local.weekday() * 24 + local.hour, minute)
            self._quarter = quarter
        return self._moment

    def clock(self, now: float) -> str:
        """A time for people: "Sunday 03:12 (Europe/Berlin)"."""
        return f"{datetime.fromtimestamp(now, self._zone):%A %H:%M} ({self.zone})"
