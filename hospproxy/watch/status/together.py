"""Sum what several machines have counted, and notice surges in the sum. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import asdict, define, evolve, field, fields

from .machines import Machine
from .surges import Change, Reading, Surges

COUNTS: Final = tuple(each.name for each in fields(Reading) if each.name != "elapsed_s")
"""What a machine tells the others: all counts of a ``Reading``, in this order."""
_MOST_TIMES: Final = 3.0
"""A machine whose figures stand for more times as many seconds than the own sample was silent for a while."""


def added(counts: tuple[float, ...], reading: Reading) -> tuple[float, ...]:
    """Add a reading to counts since the start."""
    values = asdict(reading)
    return tuple(
        count + values[name] for count, name in zip(counts or (0.0,) * len(COUNTS), COUNTS, strict=True)
    )


@define(slots=True)
class Together:
    """Watches the sum of all machines.

    What is usual belongs to a set of machines: when one comes or goes, the watches learn again for a minute. Meanwhile
    each machine still watches itself.
    """

    surges: Surges = field(factory=Surges, init=False)
    _latest: dict[str, tuple[float, tuple[float, ...]]] = field(factory=dict, init=False)

    @property
    def machines(self) -> int:
        """How many machines are counted together; 1: this one alone."""
        return len(self._latest) + 1

    def observe(
        self, own: Reading, others: Mapping[str, Machine] | None, known_times: float = 0.0
    ) -> list[Change]:
        """Judge one sample; return what began or ended.

        :param others: the other machines; None: they are not known.
        :param known_times: how many times the usual traffic is usual at this hour, on this machine.
        """
        before, latest = self._latest, {}
        reading = own
        for name, machine in (others or {}).items():
            figures = machine.figures
            if len(figures.counts) != len(COUNTS):
                continue  # of another version
            latest[name] = (figures.seconds, figures.counts)
            if name in before:
                reading = _plus(reading, *before[name], figures.seconds, figures.counts)
        number = self.machines
        self._latest = latest
        if latest.keys() != before.keys():
            ended = [
                Change(watch.signal, False, watch.peak, watch.usual, watch.since_s, number)
                for watch in self.surges.watches
                if watch.since_s is not None
            ]
            self.surges = Surges()
            return ended
        if not latest:
            return []
        known = self.surges.traffic.usual * known_times
        return [evolve(change, machines=number) for change in self.surges.observe(reading, known)]


def _plus(
    reading: Reading, since_s: float, since: tuple[float, ...], seconds: float, counts: tuple[float, ...]
) -> Reading:
    """Add what another machine has counted between two of its figures."""
    grown_s = seconds - since_s
    grown = [now - then for now, then in zip(counts, since, strict=True)]
    if grown_s <= 0 or min(grown) < 0:
        return reading  # it has stored nothing since, or was started again
    times = 1.0 if grown_s <= _MOST_TIMES * reading.elapsed_s else reading.elapsed_s / grown_s
    values = asdict(reading)
    return evolve(
        reading, **{name: values[name] + times * more for name, more in zip(COUNTS, grown, strict=True)}
    )
