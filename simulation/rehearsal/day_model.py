"""How HOSP behaved on a recorded day, learnt from the journal: response times, failures, outages."""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from attrs import define, field, frozen

from ..hosp.behaviour import LONGEST_S, Deed, key_of
from .visits import Visit

WINDOW_S = 900.0
"""Length of the parts of a day in which HOSP is taken to behave alike."""
_ENOUGH = 12
"""With fewer response times in a window, those of the whole day are used."""
_PRIOR = 20.0
"""Attempts for which the failure rate of the whole day counts in each window."""
FAILED = frozenset({"failed", "not sent", "failed after sending", "bad answer", "unknown"})
"""Outcomes for which the last attempt at HOSP had failed too."""
AWAY = "hosp is away"


@frozen
class Outage:
    """HOSP was away between two moments (seconds since 1970)."""

    since: float
    until: float


@frozen
class DayModel:
    """HOSP's behaviour by time of day.

    :param since: the beginning of the first window.
    :param times: response times in seconds, ascending, by window; a window that is missing has those of ``usual``.
    :param rates: share of attempts that failed, by window.
    """

    since: float
    usual: Sequence[float]
    times: Mapping[int, Sequence[float]]
    usual_rate: float
    rates: Mapping[int, float]
    outages: tuple[Outage, ...]

    def response_s(self, at: float, chance: random.Random) -> float:
        """Draw a response time."""
        times = self.times.get(self._window(at), self.usual)
        return min(LONGEST_S, times[int(chance.random() * len(times))])

    def failure_rate(self, at: float) -> float:
        """Share of attempts that fail at this time."""
        return self.rates.get(self._window(at), self.usual_rate)

    def _window(self, at: float) -> int:
        return int((at - self.since) // WINDOW_S)


def learn(visits: Sequence[Visit], concurrency: int) -> DayModel:
    """Learn from a day.

    :param visits: by arrival; at least one.
    :param concurrency: how many requests HOSP got at one time. While it had fewer, no request waited for a slot, so
        its time was HOSP's own.
    """
    since = visits[0].at
    samples = list(_response_times(visits, concurrency))
    usual = sorted(seconds for _, seconds in samples) or [1.0]
    windows: dict[int, list[float]] = {}
    for at, seconds in samples:
        windows.setdefault(int((at - since) // WINDOW_S), []).append(seconds)
    rate, rates = _failure_rates(visits, since)
    times = {number: sorted(each) for number, each in windows.items() if len(each) >= _ENOUGH}
    return DayModel(since, usual, times, rate, rates, tuple(_outages(visits)))


def _response_times(visits: Sequence[Visit], concurrency: int) -> Iterator[tuple[float, float]]:
    """Arrival and HOSP's own time of each request that HOSP answered at its first attempt and nearly at once."""
    finishes = sorted(visit.at + visit.seconds for visit in visits if visit.asked)
    ends: dict[bool, list[float]] = {False: [], True: []}
    waited: list[tuple[float, float]] = []
    found = False
    for visit in visits:
        if visit.asked == 0:
            continue
        for each in ends.values():
            del each[: bisect_left(each, visit.at)]
        # Reads wait for writes and for the proxy's own requests, not the other way round.
        first = visit.is_write or bool(visit.own)
        in_hand = len(ends[True]) + len(ends[False])
        ahead = len(ends[True]) if first else in_hand
        if visit.asked == 1 and visit.answered_by == "upstream" and visit.outcome not in FAILED:
            if ahead < concurrency:
                found = True
                # With all slots taken, it began when the next one became free.
                free = finishes[bisect_left(finishes, visit.at)] if in_hand >= concurrency else visit.at
                yield visit.at, max(0.0, visit.seconds - max(0.0, free - visit.at))
            else:
                waited.append((visit.at, visit.seconds))
        insort(ends[first], visit.at + visit.seconds)
    if not found:
        yield from waited


def _failure_rates(visits: Sequence[Visit], since: float) -> tuple[float, dict[int, float]]:
    tries, failures = Counter[int](), Counter[int]()
    for visit in visits:
        if visit.attempts:
            window = int((visit.at - since) // WINDOW_S)
            tries[window] += visit.attempts
            failures[window] += visit.attempts - 1 + (visit.outcome in FAILED)
    whole = failures.total() / tries.total() if tries else 0.0
    return whole, {
        window: (failures[window] + _PRIOR * whole) / (number + _PRIOR) for window, number in tries.items()
    }


def _outages(visits: Sequence[Visit]) -> Iterator[Outage]:
    """From HOSP's last good answer before a refusal to its first one after."""
    good, away = visits[0].at, False
    for visit in visits:
        if visit.outcome == AWAY:
            away = True
        elif visit.attempts and visit.answered_by == "upstream" and visit.outcome not in FAILED:
            if away:
                yield Outage(good, visit.at)
            good, away = visit.at + visit.seconds, False
    if away:
        yield Outage(good, visits[-1].at + visits[-1].seconds)


@define
class ModelledBehaviour:
    """Decides what the simulated HOSP does to a request, as `simulation.hosp.behaviour.Behaviour` does.

    :param seed: another seed draws other response times and failures.
    :param begins: seconds since 1970 when the simulation's clock shows 0.
    """

    model: DayModel
    seed: int
    begins: float
    met: dict[str, str] = field(factory=dict)
    _tries: Counter[str] = field(factory=Counter)

    def decide(self, method: str, target: str, name: str, body: bytes, now: float) -> Deed:
        """Decide what happens to this request, received at `now` (seconds of the simulation)."""
        first = key_of(method, target, name, body, 0)
        self._tries[first] += 1
        chance = random.Random(f"{self.seed}|{first}|{self._tries[first]}")
        at = self.begins + now
        takes = self.model.response_s(at, chance)
        if chance.random() >= self.model.failure_rate(at):
            return Deed("", takes * 0.9, takes)
        # The journal does not say whether a failed write was stored; for half of them HOSP has done so.
        stored = method != "GET" and chance.random() < 0.5
        fault = "error_after" if stored else "error_before"
        self.met[f"{first}{self._tries[first]}"] = fault
        return Deed(fault, takes * 0.9, takes)
