"""The rule that knows how many patients somebody usually has. Pure."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable

import msgspec
from attrs import define

from .alert import Alert
from .bounded import Distinct
from .facts import Facts
from .hours import ACTIVE_DAYS, MAX_PEOPLE
from .moments import Calendar

DAY_S = 86_400.0
MOST = 2000
"""Patients of one person within a day, beyond which nobody counts."""
_SLOWEST = 0.1
"""What the latest day weighs at least in the mean."""


class SavedUsual(msgspec.Struct, frozen=True):
    """What one person's days are like, as it is kept in a file."""

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
    """One person with many more patients than this person usually has.

    Counted are distinct patients within the last 24 hours, so that a night shift is not cut in two. Of each day with
    any the highest number is learnt: the mean of the first days, later an exponentially weighted one. A day without
    work teaches nothing, or a holiday would make the first day after it a strange one.

    :param factor: how many times the usual is too many.
    :param least: patients below which nobody is told of.
    :param learning_days: days from the first sight of somebody before which nothing is judged.
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
        self._patients = Distinct(MOST, DAY_S, max_entries=max_entries, max_subjects=max_people)
        self._people: OrderedDict[int | str, _Usual] = OrderedDict()

    def __len__(self) -> int:
        return len(self._people)

    def observe(self, facts: Facts, now: float) -> Alert | None:
        if facts.person is None or facts.patient is None:
            return None
        patients = self._patients.add(facts.person, facts.patient, now)
        usual = self._usual(facts.person, now)
        limit = self._limit(usual, now)
        # A day that was told of teaches no more than that it reached its limit.
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
        """What is learnt, to be kept; whose patients is not in it."""
        return [
            SavedUsual(person, each.since, each.day, each.days, each.mean, each.peak)
            for person, each in self._people.items()
        ]

    def load(self, people: Iterable[SavedUsual]) -> None:
        """Go on from what was kept.

        :raise ValueError: it is damaged; nothing has changed.
        """
        read: OrderedDict[int | str, _Usual] = OrderedDict()
        for each in list(people)[-self._max_people :]:
            if not math.isfinite(each.mean) or each.mean < 0:
                raise ValueError("a mean that is none")
            read[each.id] = _Usual(each.since, each.day, each.days, each.mean, each.peak)
        self._people = read
