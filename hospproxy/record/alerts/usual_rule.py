"""The alert rule about more patients than a person usually opens. Pure."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable

import msgspec
from attrs import define

from .alert import Alert
from .bounded import DistinctCounter
from .facts import RecordFacts
from .hour_rules import ACTIVE_DAYS, MAX_PEOPLE
from .local_time import Calendar

DAY_S = 86_400.0
MOST = 2000
"""Patients of one person within a day that are counted at most."""
_SLOWEST = 0.1
"""Minimum weight of the latest day in the mean."""


class SavedUsual(msgspec.Struct, frozen=True):
    """A person's usual numbers as saved in the file."""

    id: int | str
    since: float
    day: int
    days: int
    mean: float
    peak: int


@define(slots=True)
class _Usual:
    since: float
    day: int
    days: int = 0
    mean: float = 0.0
    peak: int = 0


class MoreThanUsual:
    """One person opened many more patients than this person usually does.

    The rule counts distinct patients within the last 24 hours, so that a night shift is not cut in two. From
    each day with activity it learns the highest count, as the mean of the first days and an exponentially
    weighted mean later. Days without activity are ignored; otherwise the first day after a holiday would look
    unusual.

    :param factor: this many times the usual number raises an alert.
    :param least: never raise an alert below this many patients.
    :param learning_days: days from the first record of a person during which nothing is judged.
    """

    def __init__(
        self,
        calendar: Calendar,
        factor: float,
        least: int,
        learning_days: float,
        *,
        max_people: int = MAX_PEOPLE,
        max_entries: int = 50_000,
    ) -> None:
        self._calendar = calendar
        self._factor, self._least, self._learning_days = factor, least, learning_days
        self._max_people = max_people
        self._patients = DistinctCounter(MOST, DAY_S, max_entries=max_entries, max_subjects=max_people)
        self._people: OrderedDict[int | str, _Usual] = OrderedDict()

    def __len__(self) -> int:
        return len(self._people)

    def concerns(self, facts: RecordFacts) -> bool:
        return facts.person is not None and facts.patient is not None

    def observe(self, facts: RecordFacts, now: float) -> Alert | None:
        if facts.person is None or facts.patient is None:
            return None
        patients = self._patients.add(facts.person, facts.patient, now)
        usual = self._usual(facts.person, now)
        limit = self._limit(usual, now)
        # A day with an alert counts only as its limit, so that it does not raise the usual number much.
        usual.peak = max(usual.peak, patients if limit is None else min(patients, int(limit)))
        if limit is None or patients < limit:
            return None
        return Alert(
            rule="more-patients-than-usual",
            subject=facts.person,
            text=f"{facts.called} opened {patients} patients within a day; usual are {max(1, round(usual.mean))}.",
            facts=facts,
            who=facts.who,
            count=patients,
            window_s=DAY_S,
        )

    def _usual(self, person: int | str, now: float) -> _Usual:
        day = self._calendar.moment(now).day
        usual = self._people.get(person)
        if usual is None:
            usual = self._people[person] = _Usual(now, day)
            if len(self._people) > self._max_people:
                self._people.popitem(last=False)
            return usual
        self._people.move_to_end(person)
        if day != usual.day:
            usual.days += 1
            usual.mean += (usual.peak - usual.mean) * max(1 / usual.days, _SLOWEST)
            usual.day, usual.peak = day, 0
        return usual

    def _limit(self, usual: _Usual, now: float) -> float | None:
        if now - usual.since < self._learning_days * DAY_S or usual.days < min(
            ACTIVE_DAYS, self._learning_days
        ):
            return None
        return min(max(self._least, self._factor * usual.mean), MOST)

    def dump(self) -> list[SavedUsual]:
        """What was learnt, to be saved. It does not name patients."""
        return [
            SavedUsual(person, each.since, each.day, each.days, each.mean, each.peak)
            for person, each in self._people.items()
        ]

    def load(self, people: Iterable[SavedUsual]) -> None:
        """Continue from what was saved.

        :raise ValueError: it is damaged; nothing has changed.
        """
        read: OrderedDict[int | str, _Usual] = OrderedDict()
        for each in list(people)[-self._max_people :]:
            if not math.isfinite(each.mean) or each.mean < 0:
                raise ValueError("a saved mean is not a number from 0 up")
            read[each.id] = _Usual(each.since, each.day, each.days, each.mean, each.peak)
        self._people = read
