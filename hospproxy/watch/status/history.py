"""Buckets of the last five minutes, hour, day and week. Bounded, and pure: the time is handed in.

Each window is a ring of buckets of one size. A sample is added to the newest bucket of each ring, so a week needs no
more memory than four rings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from attrs import define, field, frozen

VERSION: Final = 1


@frozen(slots=True)
class Window:
    """A span of time that the status page shows, and its resolution.

    :param name: as in the query string of the page.
    :param step_s: seconds of one bucket.
    :param buckets: their number.
    """

    name: str
    step_s: int
    buckets: int

    @property
    def length_s(self) -> int:
        return self.step_s * self.buckets


WINDOWS: Final = (
    Window("5m", 5, 60),
    Window("1h", 60, 60),
    Window("1d", 900, 96),
    Window("1w", 7200, 84),
)


class Bucket(msgspec.Struct):
    """What was counted within one step.

    :param start: seconds since the epoch, a multiple of the step.
    :param seconds: how long the proxy was watched within the bucket; less than the step after a start.
    :param counts: as in ``Sample.counters``, but only of this bucket.
    :param peaks: the largest value of each gauge.
    """

    start: int
    seconds: float = 0.0
    counts: dict[str, float] = {}
    peaks: dict[str, float] = {}

    def add(self, seconds: float, counts: Mapping[str, float], gauges: Mapping[str, float]) -> None:
        """Add a sample's counts and peaks to this bucket.

        :param seconds: since the sample before.
        """
        self.seconds += seconds
        for key, count in counts.items():
            self.counts[key] = self.counts.get(key, 0.0) + count
        for name, value in gauges.items():
            self.peaks[name] = max(value, self.peaks.get(name, value))


class Saved(msgspec.Struct, frozen=True):
    """The content of the file that keeps the history.

    :param rings: window → buckets, oldest first.
    :param usual: signal → what the surge rules have learnt.
    :param at: when it was saved, seconds since the epoch.
    """

    v: int
    at: float
    rings: dict[str, list[Bucket]]
    usual: dict[str, list[float]] = {}


def _empty() -> dict[str, list[Bucket]]:
    return {window.name: [] for window in WINDOWS}


@define(slots=True)
class History:
    """The buckets of the last 5 minutes, hour, day and week."""

    rings: dict[str, list[Bucket]] = field(factory=_empty)

    def add(
        self, now: float, seconds: float, counts: Mapping[str, float], gauges: Mapping[str, float]
    ) -> None:
        """Add a sample to every window.

        :param now: seconds since the epoch. It may jump: buckets of the future are dropped, since a clock that was
            corrected would otherwise never reach them.
        :param seconds: since the sample before.
        """
        for window in WINDOWS:
            ring = self.rings[window.name]
            start = int(now // window.step_s) * window.step_s
            ring[:] = [each for each in ring if start - window.length_s < each.start <= start]
            if not ring or ring[-1].start != start:
                ring.append(Bucket(start, 0.0, {}, {}))
            ring[-1].add(seconds, counts, gauges)

    def shown(self, window: Window, now: float) -> list[Bucket]:
        """Return the buckets of a window that are not too old now, oldest first."""
        newest = int(now // window.step_s) * window.step_s
        return [each for each in self.rings[window.name] if newest - window.length_s < each.start <= newest]

    def at(self, when: float) -> list[Bucket]:
        """Return the bucket of the day and the one of the week that hold a time; for what is usual at this hour."""
        return [
            bucket
            for window in WINDOWS[2:]
            for bucket in self.rings[window.name]
            if bucket.start <= when < bucket.start + window.step_s
        ]

    def load(self, rings: Mapping[str, list[Bucket]]) -> None:
        """Continue with saved buckets.

        :raise ValueError: they are no rings of this version.
        """
        found = _empty()
        for window in WINDOWS:
            ring = rings.get(window.name, [])
            starts = [each.start for each in ring]
            sound = all(start % window.step_s == 0 for start in starts) and starts == sorted(set(starts))
            if len(ring) > window.buckets or not sound:
                raise ValueError(f"the buckets of {window.name} are damaged")
            found[window.name] = ring
        self.rings = found
