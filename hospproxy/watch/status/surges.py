"""Notice a sudden change of traffic, errors, latency or refusals. Pure: counts and elapsed seconds are handed in.

Each watch compares five seconds with what is usual, and sums up how much better "it has changed" explains them than "it
is as usual" (a CUSUM of log-likelihood ratios, Page 1954). docs/adr/0041 has the reasons and the numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import exp, log
from typing import Final

from attrs import Factory, define, field, frozen

LIMIT: Final = 24.0
"""The sum at which a change is certain enough: as usual, a watch reaches it about once in e^24 samples, 4000 years."""
MOST_GAIN: Final = 14.0
"""Most that one sample adds: no change is reported by one sample alone."""
LEARNING_S: Final = 300.0
"""Time constant of what is usual. A day's rhythm moves slower, so the usual follows it."""
WARM_UP_S: Final = 60.0
"""Seconds after a start without saved values in which nothing is reported."""
CALM_S: Final = 30.0
"""A change is over once this many seconds are near the usual."""
NEW_USUAL_S: Final = 900.0
"""A change that lasts this long is the new usual."""
_MOST_GAP_S: Final = 60.0
"""A sample that stands for more says nothing about what is sudden: the process was stopped, or slept."""


@frozen(slots=True)
class Change:
    """A signal has left what is usual, or has come back.

    :param began: False: it has ended.
    :param value: of the signal now; for an end, the highest since its begin.
    :param usual: what was usual before.
    :param lasted_s: seconds since its begin.
    :param machines: over how many machines it was counted.
    """

    signal: str
    began: bool
    value: float
    usual: float
    lasted_s: float = 0.0
    machines: int = 1


@define(slots=True)
class Recent:
    """Sums of the last ``CALM_S`` seconds.

    :param samples: (elapsed seconds, events, out of) of each sample.
    """

    samples: deque[tuple[float, float, float]] = field(factory=lambda: deque(maxlen=64))

    def add(self, elapsed_s: float, events: float, of: float) -> None:
        self.samples.append((elapsed_s, events, of))
        while len(self.samples) > 1 and self.seconds - self.samples[0][0] >= CALM_S:
            self.samples.popleft()

    @property
    def seconds(self) -> float:
        return sum(each[0] for each in self.samples)

    @property
    def events(self) -> float:
        return sum(each[1] for each in self.samples)

    @property
    def of(self) -> float:
        return sum(each[2] for each in self.samples)

    @property
    def value(self) -> float | None:
        """Events for each of what they are counted out of; None if there was nothing."""
        return self.events / self.of if self.of else None


@define(slots=True)
class Watch:
    """What all watches have in common: the sum, begin and end, and when to learn.

    A sample is so many events out of so much: requests in seconds, failures of requests, seconds of responses.

    :param signal: its name.
    :param floor: smallest value that counts as usual.
    :ivar events: learnt; the usual value is their sum for each ``of``.
    :ivar spread: learnt variance, in relation to that of the rule's distribution.
    """

    signal: str
    floor: float
    score: float = field(default=0.0, init=False)
    events: float = field(default=0.0, init=False)
    of: float = field(default=0.0, init=False)
    spread: float = field(default=1.0, init=False)
    seen_s: float = field(default=0.0, init=False)
    since_s: float | None = field(default=None, init=False)
    peak: float = field(default=0.0, init=False)
    recent: Recent = field(factory=Recent, init=False)

    @property
    def active(self) -> bool:
        """Whether a change is going on."""
        return self.since_s is not None

    @property
    def usual(self) -> float:
        """The usual value of the signal, never below the floor."""
        return max(self.floor, self.events / self.of if self.of else 0.0)

    def observe(self, elapsed_s: float, events: float, of: float, known: float = 0.0) -> Change | None:
        """Judge one sample, and learn from it.

        :param elapsed_s: seconds that it stands for.
        :param known: value that is usual at this hour for another reason, such as yesterday's.
        :return: what began or ended with it.
        """
        if not 0 < elapsed_s <= _MOST_GAP_S:
            return None
        usual = max(self.usual, known)
        self.recent.add(elapsed_s, events, of)
        if self.since_s is not None:
            return self._during(elapsed_s, usual)
        if self.seen_s < WARM_UP_S:
            self._learn(elapsed_s, events, of, usual)
            return None
        self.score = max(0.0, self.score + min(MOST_GAIN, self._gain(events, of, usual)))
        if self.score >= LIMIT:
            self.since_s, self.peak = 0.0, self.recent.value or 0.0
            return Change(self.signal, True, self.peak, usual)
        if self.score < LIMIT / 2:  # otherwise the begin of a change would become usual
            self._learn(elapsed_s, events, of, usual)
        return None

    def _during(self, elapsed_s: float, usual: float) -> Change | None:
        assert self.since_s is not None
        self.since_s += elapsed_s
        value = self.recent.value
        if value is not None:
            self.peak = max(self.peak, value)
        settled = self.since_s >= NEW_USUAL_S
        if not settled and (value is None or self.recent.seconds < CALM_S or value > self._calm_below(usual)):
            return None
        lasted_s = self.since_s
        self.score, self.since_s = 0.0, None
        if settled:  # start again from the last seconds
            weight = LEARNING_S / max(self.recent.seconds, 1.0)
            self.events, self.of = self.recent.events * weight, self.recent.of * weight
        return Change(self.signal, False, self.peak, usual, lasted_s)

    def _learn(self, elapsed_s: float, events: float, of: float, usual: float) -> None:
        kept = exp(-elapsed_s / LEARNING_S)
        self.seen_s += elapsed_s
        if self.seen_s > WARM_UP_S and of:
            # One wild sample must not become the usual.
            events = min(events, 4.0 * usual * of)
            new = min(9.0, self._deviation(events, of, usual))
            self.spread = self.spread * kept + new * (1.0 - kept)
        self.events = self.events * kept + events
        self.of = self.of * kept + of

    def _gain(self, events: float, of: float, usual: float) -> float:
        """How much better a change explains the sample, as the logarithm of a ratio of likelihoods."""
        raise NotImplementedError

    def _deviation(self, events: float, of: float, usual: float) -> float:
        """The squared deviation of the sample in relation to its expected variance: 1 in the mean."""
        raise NotImplementedError

    def _calm_below(self, usual: float) -> float:
        """The value below which a change is over."""
        return 1.5 * usual

    def dump(self) -> list[float]:
        """Return what was learnt, in the form that ``load`` reads."""
        return [self.events, self.of, self.spread, self.seen_s]

    def load(self, learnt: Sequence[float]) -> None:
        """Continue with what was learnt before.

        :raise ValueError: it is damaged.
        """
        if len(learnt) != 4 or not all(0 <= each < 1e18 for each in learnt):
            raise ValueError(f"what was learnt of {self.signal} is damaged")
        self.events, self.of, self.spread, self.seen_s = learnt


@define(slots=True)
class RateWatch(Watch):
    """Watches events in a time: requests, refusals. Poisson, wider if traffic has come in bursts."""

    TIMES = 3.0

    def _gain(self, events: float, of: float, usual: float) -> float:
        gain = events * log(self.TIMES) - usual * of * (self.TIMES - 1.0)
        return gain / min(4.0, max(1.0, self.spread))

    def _deviation(self, events: float, of: float, usual: float) -> float:
        expected = max(1.0, usual * of)
        return (events - expected) ** 2 / expected


@define(slots=True)
class ShareWatch(Watch):
    """Watches which share fails: requests of users, attempts at HOSP. Binomial."""

    def _high(self, usual: float) -> float:
        return min(0.95, max(3.0 * usual, usual + 0.15))

    def _gain(self, events: float, of: float, usual: float) -> float:
        low = min(0.9, usual)
        high = max(self._high(low), low + 0.02)
        gain = events * log(high / low) + (of - events) * log((1.0 - high) / (1.0 - low))
        return gain / min(4.0, max(1.0, self.spread))

    def _deviation(self, events: float, of: float, usual: float) -> float:
        share = min(0.9, usual)
        return (events - of * share) ** 2 / max(1.0, of * share * (1.0 - share))

    def _calm_below(self, usual: float) -> float:
        return (usual + self._high(usual)) / 2.0


@define(slots=True)
class LatencyWatch(Watch):
    """Watches how long responses take. Gamma, with the shape that was learnt: ``spread`` is its inverse."""

    TIMES = 2.0

    def _gain(self, events: float, of: float, usual: float) -> float:
        gain = events / usual * (1.0 - 1.0 / self.TIMES) - of * log(self.TIMES)
        return gain / min(4.0, max(0.25, self.spread))

    def _deviation(self, events: float, of: float, usual: float) -> float:
        return (events - of * usual) ** 2 / (of * usual**2)


@frozen(slots=True)
class Reading:
    """What was counted since the last sample.

    :param elapsed_s: seconds since then.
    :param requests: of clients, and how many of them failed (5xx).
    :param attempts: at HOSP, and how many of them failed.
    :param answers: of HOSP that were timed, and their seconds.
    :param refused: requests that got no slot at HOSP.
    """

    elapsed_s: float
    requests: float = 0.0
    failed: float = 0.0
    attempts: float = 0.0
    unanswered: float = 0.0
    answers: float = 0.0
    seconds: float = 0.0
    refused: float = 0.0


@define(slots=True)
class Surges:
    """The watches of all signals, fed by the same samples."""

    traffic: RateWatch = Factory(lambda: RateWatch("traffic", 0.5))
    refusals: RateWatch = Factory(lambda: RateWatch("refusals", 0.2))
    errors: ShareWatch = Factory(lambda: ShareWatch("errors", 0.03))
    hosp_errors: ShareWatch = Factory(lambda: ShareWatch("hosp_errors", 0.05))
    hosp_latency: LatencyWatch = Factory(lambda: LatencyWatch("hosp_latency", 0.25))

    @property
    def watches(self) -> tuple[Watch, ...]:
        return (self.traffic, self.refusals, self.errors, self.hosp_errors, self.hosp_latency)

    def observe(self, reading: Reading, known_per_s: float = 0.0) -> list[Change]:
        """Judge one sample; return what began or ended.

        :param known_per_s: requests a second that are usual at this hour.
        """
        elapsed_s = reading.elapsed_s
        found = (
            self.traffic.observe(elapsed_s, reading.requests, elapsed_s, known_per_s),
            self.refusals.observe(elapsed_s, reading.refused, elapsed_s),
            self.errors.observe(elapsed_s, reading.failed, reading.requests),
            self.hosp_errors.observe(elapsed_s, reading.unanswered, reading.attempts),
            self.hosp_latency.observe(elapsed_s, reading.seconds, reading.answers),
        )
        return [change for change in found if change is not None]

    def dump(self) -> dict[str, list[float]]:
        """Return what all watches have learnt."""
        return {watch.signal: watch.dump() for watch in self.watches}

    def load(self, learnt: dict[str, list[float]]) -> None:
        """Continue with what was learnt before.

        :raise ValueError: it is damaged.
        """
        for watch in self.watches:
            if watch.signal in learnt:
                watch.load(learnt[watch.signal])
